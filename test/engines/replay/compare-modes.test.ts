/** Both modes of assistance on one recorded guest, translation by translation; whole recordings are in `hap.test.ts`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { modesExitCode } from "../../../src/cli/trace.ts";
import { UsageError } from "../../../src/engines/errors.ts";
import { compareModes } from "../../../src/engines/replay/compare-modes.ts";
import { cutTrace } from "../../../src/engines/replay/cut-trace.ts";
import { modesText } from "../../../src/report/modes-text.ts";
import { PLAIN } from "../../../src/report/text.ts";

const TRACES = join(import.meta.dirname, "../../../scenarios/traces");
const FAULTY_WORKER = join(import.meta.dirname, "faulty-worker.ts");
const folder = mkdtempSync(join(tmpdir(), "umbra-modes-"));
const short = join(folder, "short.trace.gz");

beforeAll(async () => {
  await cutTrace(join(TRACES, "pae.trace.gz"), 8000, short);
});
afterAll(() => rmSync(folder, { recursive: true }));

test("with out-of-sync shadows, too", async () => {
  const result = await compareModes({ file: short, preset: "xen-3.3", set: ["structure-cache=16"] });
  expect(result).toMatchObject({ differences: 0, unanswered: 0 });
  expect(result.shadow.counters["unsync"]).toBeGreaterThan(0);
  expect(modesText(result, PLAIN)).toMatch(/both modes agree in every translation and every fault\n$/);
});

test("an entry of the p2m's tables that leads elsewhere is a difference, told with both answers", async () => {
  const result = await compareModes(
    { file: short },
    { worker: { file: FAULTY_WORKER, name: "wrongNestedEntry" } },
  );
  expect(result.shadow).toMatchObject({ outcome: "completed", fillMismatches: 0, violations: [] });
  expect(result.differences).toBeGreaterThan(0);
  expect(result.first[0]?.join("\n")).toMatch(
    /^record \d+, FILL of CPU 0: .*\n {2}in shadow mode it ends in frame 0x[0-9a-f]+ .*\n {2}in hap mode .* frame 0x2ff/,
  );
  expect(modesExitCode(result)).toBe(1);
  expect(modesText(result, PLAIN)).toMatch(
    /differences? between the modes\nto see it again: umbra trace modes /,
  );
});

test("a mode cannot be asked for, and a file must be a trace", async () => {
  await expect(compareModes({ file: short, set: ["paging=hap"] })).rejects.toThrow(UsageError);
  await expect(compareModes({ file: FAULTY_WORKER })).rejects.toThrow(UsageError);
});
