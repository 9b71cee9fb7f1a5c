/**
 * Guests that do anything at all, in every format, on one to three vCPUs in turn, under every preset and with each switch
 * alone, against the reference of `reference-guest.ts`. Every answer, all of memory and the audit must agree, and nothing
 * be left over at the end.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FORMATS } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { SWITCH_SETS, runGuest } from "./random-guest.ts";
import type { Plan, Step } from "./random-guest.ts";

/** Long enough for a find, short enough for every run of the tests. */
const MILLIS = 4000;

const steps = fc.array(
  fc.tuple(fc.nat(31), fc.nat(2), fc.nat(0xffff), fc.nat(0xffff), fc.nat(0xffff), fc.nat(0xffff)),
  { maxLength: 160, size: "max" },
);

function plans(levels: GuestLevels): fc.Arbitrary<Plan> {
  return fc.record({
    levels: fc.constant(levels),
    vcpus: fc.integer({ min: 1, max: 3 }),
    switchSet: fc.nat(SWITCH_SETS.length - 1),
    tlbSets: fc.constantFrom(1, 2, 16),
    tlbWays: fc.constantFrom(1, 2, 4),
    structureCacheEntries: fc.constantFrom(0, 4, 64),
    reuseLast: fc.boolean(),
    tinyPool: fc.boolean(),
    mixed: fc.boolean(),
    smallMap: fc.boolean(),
  });
}

test.each(FORMATS)(
  "whatever a %i-level guest does, a processor with its tables could have answered so",
  (levels) => {
    fc.assert(
      fc.property(plans(levels), steps, (plan, list) => {
        expect(runGuest(plan, list)).toBeUndefined();
      }),
      { numRuns: 200, interruptAfterTimeLimit: MILLIS },
    );
  },
);

/** Numbers from a seed: the same guest every time. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

function guestOf(seed: number, length: number): Step[] {
  const next = numbers(seed);
  return Array.from({ length }, (): Step => {
    const [kind, vcpu, a, b, c, d] = [next(), next(), next(), next(), next(), next()];
    return [kind % 32, vcpu % 3, a & 0xffff, b & 0xffff, c & 0xffff, d & 0xffff];
  });
}

describe.each(FORMATS)("a long life of a %i-level guest", (levels) => {
  test.each(SWITCH_SETS.map(({ name }, switchSet) => ({ name, switchSet })))(
    "comes out right with $name",
    ({ switchSet }) => {
      const plan: Plan = {
        levels,
        vcpus: 1 + (switchSet % 3),
        switchSet,
        tlbSets: 4,
        tlbWays: 2,
        structureCacheEntries: switchSet % 2 === 0 ? 16 : 0,
        reuseLast: switchSet % 4 < 2,
        tinyPool: switchSet % 5 === 0,
        mixed: switchSet % 7 === 3,
        smallMap: switchSet % 3 === 1,
      };
      expect(runGuest(plan, guestOf(levels * 1000 + switchSet, 400))).toBeUndefined();
    },
  );
});
