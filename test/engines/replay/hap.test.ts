/** Recorded guests in both modes of assistance: the same recording is reproduced by shadows and by hardware alone. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { modesExitCode } from "../../../src/cli/trace.ts";
import { compareModes } from "../../../src/engines/replay/compare-modes.ts";
import { PLAIN } from "../../../src/report/text.ts";
import { verifyText } from "../../../src/report/verify-text.ts";
import type { VerifyResult } from "../../../src/report/types.ts";
import { TraceBuilder } from "../../guest/trace/trace-builder.ts";
import { replayHere } from "./replay-here.ts";

const TRACES = join(import.meta.dirname, "../../../scenarios/traces");
const PAGING_ON = 0x8005_0033;
const PSE = 0x10;
const LARGE = 0x1e3;
const USER = 0x67;
const ROOT = 0x10_0000;
const LEAF = 0x10_1000;
const DIRECT_MAP = 0xc000_0000;
const LINEAR = 0x40_0000;

/** What was compared, and what was wrong with it. */
function judged(result: VerifyResult): object {
  const { outcome, replayed, fills, faults, stores, violations } = result;
  const { fillMismatches, faultMismatches, storeMismatches, tableMismatches } = result;
  const wrong = { fillMismatches, faultMismatches, storeMismatches, tableMismatches, violations };
  return { outcome, replayed, fills, faults, stores, ...wrong };
}

test.each([
  { name: "2level", translations: 38_823, faults: 756 },
  { name: "pae", translations: 32_530, faults: 545 },
  { name: "4level", translations: 40_517, faults: 707 },
])("$name: both modes agree with all that was recorded, and with each other", async ({ name, ...counts }) => {
  const file = join(TRACES, `${name}.trace.gz`);
  const result = await compareModes({ file, set: ["structure-cache=16"] });
  const { shadow, hap } = result;
  expect(result).toMatchObject({ ...counts, differences: 0, unanswered: 0, first: [] });
  expect(result.rights + result.withoutRights).toBe(counts.translations);
  expect(result.rights).toBeGreaterThan(counts.translations * 0.9);
  // Of those whose rights differ each has its reason, and there are some.
  const { withheldFromTables, withheldSinceTable, withheldWhileClean } = result;
  expect(withheldFromTables).toBeGreaterThan(100);
  expect(withheldFromTables + withheldSinceTable + withheldWhileClean).toBeLessThan(result.rights / 50);
  expect(modesExitCode(result)).toBe(0);
  expect(judged(hap)).toEqual(judged(shadow));
  expect(hap).toMatchObject({
    outcome: "completed",
    fillMismatches: 0,
    faultMismatches: 0,
    storeMismatches: 0,
    tableMismatches: 0,
    violations: [],
  });
  const { counters } = hap;
  expect([counters["demand_faults"], counters["shadow_walks"], counters["emulated_stores"]]).toEqual([
    0, 0, 0,
  ]);
  // Each recorded fault is the guest's own, and each nested fault an access to a device.
  expect(counters["native_faults"]).toBe(hap.faults);
  expect(counters["nested_faults"]).toBe(hap.mmio);
  expect(counters["exits"]).toBeLessThan(shadow.counters["exits"] ?? 0);
  expect(verifyText(hap, PLAIN)).toMatch(/two-dimensional walks +[1-9]/);
});

/** A page is walked, its entry changed without a flush of the other, and walked again. */
function oneCpu(): TraceBuilder {
  return new TraceBuilder(8 * 2 ** 20, 1)
    .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
    .page(ROOT, 2, 4, { 1: LEAF | USER, 768: LARGE })
    .page(LEAF, 1, 4, { 0: 0x20_0000 | USER })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .store({ physical: LEAF, linear: DIRECT_MAP + LEAF, size: 4, value: 0x22_0000 | USER })
    .invlpg(LINEAR)
    .walk({ linear: LINEAR, physical: 0x22_0000, user: true });
}

test("a walk that goes astray is a mismatch, told with both walks", () => {
  const config = { paging: "hap" } as const;
  expect(replayHere(oneCpu(), config).wrong).toEqual([]);
  const { wrong, explained } = replayHere(oneCpu(), config, ({ vcpu: { nested } }) => {
    const translate = nested.translate.bind(nested);
    nested.translate = (low, high, access) => {
      const hasPassed = translate(low, high, access);
      if (low === LINEAR) nested.frame++;
      return hasPassed;
    };
  });
  expect(wrong[0]).toMatch(/^record \d+, FILL of CPU 0: user read of 0x400000 .* it ended in frame 0x/);
  expect(explained.join("\n")).toMatch(/p2m L4 mfn 0x[0-9a-f]+: 0x[0-9a-f]+ PWUAD/);
});
