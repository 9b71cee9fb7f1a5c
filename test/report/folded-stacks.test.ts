/** Folded stacks: every nanosecond of the waits is in one line, in the form that flame graphs read. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { foldedStacks } from "../../src/report/folded-stacks.ts";
import type { LockWaitRow } from "../../src/report/types.ts";

const wait: fc.Arbitrary<LockWaitRow> = fc.record({
  lock: fc.constantFrom("p2m", "paging"),
  vcpu: fc.nat({ max: 3 }),
  site: fc.constantFrom("page_fault", "invlpg"),
  heldAt: fc.constantFrom("page_fault", "domctl"),
  count: fc.integer({ min: 1, max: 9 }),
  nanos: fc.integer({ min: 1, max: 1e9 }),
});
const PLACES = { page_fault: "shadow/fault.ts:119, 133; hap/nested-fault.ts:59" };

test("the lines add up to the waits, and frames are parted by semicolons alone", () => {
  fc.assert(
    fc.property(fc.array(wait), (waits) => {
      const lines = foldedStacks({ waits, places: PLACES, vcpus: 3 }, ["8 vCPUs, mcs"])
        .split("\n")
        .slice(0, -1)
        .map((line) =>
          /^8 vCPUs, mcs;(\w+) lock;[^;]+;while held at [^;]+;(vCPU [0-2]|toolstack) (\d+)$/.exec(line),
        );
      expect(lines.map((match) => [match?.[1], match?.[2], Number(match?.[3])])).toEqual(
        waits.map(({ lock, vcpu, nanos }) => [
          lock,
          vcpu === 3 ? "toolstack" : `vCPU ${String(vcpu)}`,
          nanos,
        ]),
      );
    }),
  );
});

test("a place is told with its lines of source", () => {
  const row = { lock: "paging", vcpu: 1, site: "page_fault", heldAt: "invlpg", count: 2, nanos: 70 };
  expect(foldedStacks({ waits: [row], places: PLACES, vcpus: 8 })).toBe(
    "paging lock;page_fault (shadow/fault.ts:119, 133, hap/nested-fault.ts:59);while held at invlpg;vCPU 1 70\n",
  );
});
