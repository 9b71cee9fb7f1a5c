/** Tokens and schedules as text. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { defaultChoice } from "../../../../src/engines/explore/directives.ts";
import { readToken, writeToken } from "../../../../src/engines/explore/failures/token.ts";
import type { TokenContent } from "../../../../src/engines/explore/failures/token.ts";
import { wilsonInterval } from "../../../../src/engines/explore/wilson.ts";

const anyContent: fc.Arbitrary<TokenContent> = fc.record({
  scenario: fc.constantFrom("tiny-pool", "./my scenario.ts", "m07", "../a:b/c?.ts"),
  settings: fc.record({
    vcpus: fc.integer({ min: 1, max: 32 }),
    guest: fc.constantFrom("2level", "pae", "4level"),
    seed: fc.nat(),
    rounds: fc.integer({ min: 1, max: 1000 }),
    preset: fc.constantFrom("talk", "talk-before", "xen-3.3"),
    mutant: fc.constantFrom(null, "m01", "./x:y.ts"),
    isWhole: fc.boolean(),
    pointsMax: fc.integer({ min: 1, max: 1 << 20 }),
    set: fc.array(fc.constantFrom("pool=400", "map=one-to-one", "a=b:c&d")),
  }),
  codeHash: fc.constantFrom("0123abcd", "ffffffff"),
  key: fc.constant("audit-roots-are-loaded"),
  directives: fc.array(fc.record({ thread: fc.nat(31), performed: fc.nat(1_000_000), next: fc.nat(31) }), {
    maxLength: 40,
  }),
});

test("a token says what was put into it, in one word", () => {
  fc.assert(
    fc.property(anyContent, (content) => {
      const token = writeToken(content);
      expect(token).toMatch(/^\S+$/);
      expect(readToken(token)).toEqual(content);
    }),
  );
});

test("a token that was cut anywhere is refused, unless only its key's text is", () => {
  fc.assert(
    fc.property(anyContent, fc.double({ min: 0, max: 0.999, noNaN: true }), (content, at) => {
      const token = writeToken({ ...content, directives: [{ thread: 1, performed: 300, next: 0 }] });
      const cut = token.slice(0, Math.floor(token.length * at));
      expect(() => readToken(cut)).toThrow(/^token "/);
    }),
  );
});

test.each([
  { current: 1, enabled: 0b111, next: 1 },
  { current: 1, enabled: 0b101, next: 2 },
  { current: 2, enabled: 0b011, next: 0 },
  { current: 31, enabled: 1 << 31, next: 31 },
  { current: 5, enabled: 0, next: -1 },
])("by default, $current gives way to $next when $enabled can go on", ({ current, enabled, next }) => {
  expect(defaultChoice(current, enabled)).toBe(next);
});

test("Wilson's interval is that of the textbook, and holds its share", () => {
  const { low, high } = wilsonInterval(10, 100);
  expect(low).toBeCloseTo(0.0552, 4);
  expect(high).toBeCloseTo(0.1744, 4);
  expect(wilsonInterval(0, 100)).toEqual({ low: 0, high: expect.closeTo(0.037, 3) });
  expect(wilsonInterval(5, 5).high).toBe(1);
  expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
});
