/** Sets of threads: a bit each. */
import type { RandomStream } from "../random-stream.ts";

/** How many threads there are in a set. */
export function countOf(set: number): number {
  let count = set - ((set >>> 1) & 0x55555555);
  count = (count & 0x33333333) + ((count >>> 2) & 0x33333333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Whether there is at most one thread in a set. */
export function isAtMostOne(set: number): boolean {
  return (set & (set - 1)) === 0;
}

/** The thread with the lowest number in a set that is not empty. */
export function lowestOf(set: number): number {
  return 31 - Math.clz32(set & -set);
}

/** The `index`th thread of a set, from 0. */
export function nthOf(set: number, index: number): number {
  let left = set;
  for (let skip = index; skip > 0; skip--) left &= left - 1;
  return lowestOf(left);
}

/** Any thread of a set of at least two, each with the same probability. */
export function anyOf(set: number, random: RandomStream): number {
  return nthOf(set, random.below(countOf(set)));
}

/**
 * The `index`th thread of a set, of those after `current` in the order of numbers first, then of those before it.
 * `current` itself is not in the set.
 */
export function nthAfter(set: number, current: number, index: number): number {
  const upTo = current < 0 ? 0 : (2 << current) - 1;
  const after = set & ~upTo;
  const afterCount = countOf(after);
  let left = index < afterCount ? after : set & upTo;
  for (let skip = index < afterCount ? index : index - afterCount; skip > 0; skip--) left &= left - 1;
  return lowestOf(left);
}
