/**
 * A sequence lock with a planted bug: the writer makes the number odd after its first write instead of before, so that a
 * reader can take one half of the old pair and one of the new, and find the same even number before and after.
 */
import { cells, check, racy, spawn } from "umbra";

const SEQUENCE = 0;
const LEFT = 1;
const RIGHT = 2;

function write(pair: Int32Array, value: number, isCorrect: boolean): void {
  if (!isCorrect) pair[LEFT] = value;
  Atomics.add(pair, SEQUENCE, 1);
  if (isCorrect) pair[LEFT] = value;
  pair[RIGHT] = value;
  Atomics.add(pair, SEQUENCE, 1);
}

/** Both halves, undefined when a writer came in between. */
function read(pair: Int32Array): readonly [number, number] | undefined {
  const before = Atomics.load(pair, SEQUENCE);
  if (before % 2 === 1) return undefined;
  const halves = [pair[LEFT] ?? 0, pair[RIGHT] ?? 0] as const;
  return Atomics.load(pair, SEQUENCE) === before ? halves : undefined;
}

/** A writer and a reader: what is read is one pair, whole. */
export default function main({ isCorrect }: { readonly isCorrect: boolean }): void {
  const pair = cells(3, "pair");
  racy(pair.subarray(LEFT), "a reader that meets a writer throws away what it has read");
  const writer = spawn(() => {
    write(pair, 1, isCorrect);
    write(pair, 2, isCorrect);
  }, "writer");
  const seen = read(pair);
  if (seen !== undefined) check(seen[0] === seen[1], `half a pair was read: ${seen.join(" and ")}`);
  writer.join();
}
