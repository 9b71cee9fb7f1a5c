/** What a frame held before each write, and how long each value counts. */
import { expect, test } from "vitest";
import { WriteLog } from "../../src/checks/write-log.ts";

const CELL = 6;

/** Values of an entry that count since a step, newest first. */
function values(log: WriteLog, since: number): number[] {
  const seen: number[] = [];
  log.some(CELL, 2, since, (low) => {
    seen.push(low);
    return false;
  });
  return seen;
}

function write(log: WriteLog, words: Int32Array, value: number, step: number, holder = -1): void {
  log.note(CELL, step, holder);
  words[CELL] = value;
}

test("a value counts until it is overwritten", () => {
  const words = new Int32Array(16);
  const log = new WriteLog(words);
  log.begin();
  write(log, words, 1, 10);
  write(log, words, 2, 20);
  expect([values(log, 5), values(log, 15), values(log, 25)]).toEqual([[2, 1, 0], [2, 1], [2]]);
});

test("what is overwritten under the lock counts until the lock is released", () => {
  const words = new Int32Array(16);
  const log = new WriteLog(words);
  log.begin();
  write(log, words, 1, 10, 3);
  expect(values(log, 100)).toEqual([1, 0]);
  log.released(3, 50);
  expect([values(log, 40), values(log, 50)]).toEqual([[1, 0], [1]]);
  write(log, words, 2, 60);
  expect(values(log, 55)).toEqual([2, 1]);
});

test("writes to other cells do not end the search", () => {
  const words = new Int32Array(16);
  const log = new WriteLog(words);
  log.begin();
  write(log, words, 1, 10, 3);
  log.note(CELL + 4, 20);
  log.released(3, 30);
  expect(values(log, 25)).toEqual([1, 0]);
});
