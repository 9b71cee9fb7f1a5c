import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cutTrace } from "../../../src/engines/replay/cut-trace.ts";
import { variants, verifyEachSwitch } from "../../../src/engines/replay/each-switch.ts";
import { PRESETS, SWITCH_NAMES } from "../../../src/hypervisor/machine-config.ts";
import { eachSwitchText, isRight } from "../../../src/report/each-switch-text.ts";
import { PLAIN } from "../../../src/report/text.ts";
import { ROOT } from "../../source.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-switches-"));
const short = join(folder, "short.trace.gz");
beforeAll(async () => {
  await cutTrace(join(ROOT, "scenarios/traces/pae.trace.gz"), 4000, short);
});
afterAll(() => rmSync(folder, { recursive: true }));

test("every switch is turned in every era, and every preset is there", () => {
  const all = variants();
  for (const preset of Object.keys(PRESETS)) expect(all).toContainEqual({ preset, set: null });
  for (const name of SWITCH_NAMES)
    for (const preset of ["talk-before", "talk", "xen-3.3"] as const)
      expect(all).toContainEqual({ preset, set: `${name}=${PRESETS[preset][name] ? "off" : "on"}` });
});

test("a setting makes the difference that it is there for, and all agree with the recording", async () => {
  const chosen = variants().filter(
    ({ preset, set }) =>
      preset === "talk" && (set === null || /prefetch|emulate-ahead|granularity/.test(set)),
  );
  const { runs } = await verifyEachSwitch(short, {}, chosen);
  expect(runs.map((run) => isRight(run))).toEqual([true, true, true, true]);
  const faults = new Map(runs.map(({ set, result }) => [set, result.demandFaults]));
  expect(faults.get("prefetch=off")).toBeGreaterThan(faults.get(null) ?? Infinity);
  expect(faults.get("emulate-ahead=on")).toBeLessThan(faults.get(null) ?? 0);
  // Whatever is locked, the shadows are the same.
  expect(faults.get("granularity=page")).toBe(faults.get(null));
});

test("one that does not agree is told, with its command", async () => {
  const found = await verifyEachSwitch(short, {}, variants().slice(0, 1));
  const runs = found.runs.map((run) => ({ ...run, result: { ...run.result, fillMismatches: 1 } }));
  expect(runs.map((run) => isRight(run))).toEqual([false]);
  const text = eachSwitchText({ ...found, runs }, PLAIN);
  expect(text).toContain("1 replay did not agree");
  expect(text).toContain(`to see it again: umbra trace verify ${short} --order strict --preset talk-before`);
});
