import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LockCell, countUp, lockArea, readCount, recordDuration } from "../../src/locks/lock-area.ts";
import {
  percentileOfBuckets,
  readLockStatistics,
  resetLockStatistics,
} from "../../src/locks/lock-statistics.ts";
import { LOCK_NAMES, LOCK_WORDS } from "../../src/memory/layout.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { smallLayout } from "./test-vcpu.ts";

const layout = smallLayout(1);
const LONGEST = 2 ** 32 - 1;

test("durations of any length are summed exactly and sorted into their buckets", () => {
  const nanos = fc.oneof(fc.nat({ max: 5 }), fc.nat(), fc.double({ min: 0, max: 2 ** 36, noNaN: true }));
  fc.assert(
    fc.property(fc.array(nanos, { minLength: 1 }), (durations) => {
      const memory = SharedMemory.create(layout.words);
      for (const each of durations) recordDuration(memory, lockArea(layout, 1) + LockCell.waits, each);
      const whole = durations.map(Math.trunc);
      const clamped = whole.map((each) => Math.min(each, LONGEST));
      expect(readLockStatistics(memory, layout, 1)).toMatchObject({
        contentions: durations.length,
        waitNanosTotal: whole.reduce((a, b) => a + b),
        waitNanosMin: Math.min(...clamped),
        waitNanosMax: Math.max(...clamped),
        waitBuckets: Array.from(
          { length: 32 },
          (_, bucket) => clamped.filter((each) => Math.floor(Math.log2(Math.max(each, 1))) === bucket).length,
        ),
      });
    }),
  );
});

test("a count goes on beyond one word", () => {
  const memory = SharedMemory.create(layout.words);
  memory.storeGuarded(0, -1);
  countUp(memory, 0);
  expect(readCount(memory, 0)).toBe(2 ** 32);
  countUp(memory, 0);
  expect(readCount(memory, 0)).toBe(2 ** 32 + 1);
});

test("the statistics of a lock fit behind its words and before the next lock", () => {
  const memory = SharedMemory.create(layout.words);
  memory.fillWords(lockArea(layout, 1), LOCK_WORDS, 7);
  for (const [index, name] of LOCK_NAMES.entries()) {
    const { acquisitions, holdBuckets } = readLockStatistics(memory, layout, index);
    expect({ name, acquisitions, last: holdBuckets.at(-1) }).toEqual(
      index === 1 ? { name, acquisitions: 7 * 2 ** 32 + 7, last: 7 } : { name, acquisitions: 0, last: 0 },
    );
  }
});

test("a reset clears the statistics and not the lock", () => {
  const memory = SharedMemory.create(layout.words);
  const untouched = readLockStatistics(memory, layout, 2);
  const area = lockArea(layout, 2);
  memory.fillWords(area, LOCK_WORDS, 7);
  resetLockStatistics(memory, layout, 2);
  expect(readLockStatistics(memory, layout, 2)).toEqual(untouched);
  expect(Array.from(memory.view.subarray(area, area + 16))).toEqual(Array(16).fill(7));
});

test("a percentile is the upper bound of the bucket in which it lies", () => {
  const durations = fc.array(fc.nat({ max: 1_000_000 }), { minLength: 1 });
  fc.assert(
    fc.property(durations, fc.integer({ min: 1, max: 100 }), (each, percent) => {
      const buckets = Array<number>(32).fill(0);
      for (const nanos of each) {
        const bucket = nanos === 0 ? 0 : Math.floor(Math.log2(nanos));
        buckets[bucket] = (buckets[bucket] ?? 0) + 1;
      }
      const sorted = each.toSorted((a, b) => a - b);
      const exact = sorted[Math.ceil((each.length * percent) / 100) - 1] ?? 0;
      expect(percentileOfBuckets(buckets, percent)).toBe(
        2 ** (Math.floor(Math.log2(Math.max(exact, 1))) + 1),
      );
    }),
  );
  expect(percentileOfBuckets([0, 0], 50)).toBe(0);
});

test("there is no lock beyond the last", () => {
  const memory = SharedMemory.create(layout.words);
  expect(() => readLockStatistics(memory, layout, LOCK_NAMES.length)).toThrow(
    new RangeError(`there is no lock ${LOCK_NAMES.length}`),
  );
});
