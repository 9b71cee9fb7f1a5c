/** Lifetimes and the log of writes by themselves: what a pointer or a value is good for, and until when. */
import { describe, expect, test } from "vitest";
import { Lifetimes } from "../../src/checks/lifetimes.ts";
import { WriteLog } from "../../src/checks/write-log.ts";
import { FrameUse } from "../../src/memory/frame-table.ts";
import { layOut } from "../../src/memory/layout.ts";

const SIZES = { vcpus: 2, frames: 16, ramPages: 4, tlbSets: 1, tlbWays: 1, structureCacheEntries: 2 };
const TABLE = 5;
const LEAF_TYPE = 1;

function machine(): { lifetimes: Lifetimes; set: (field: number, frame: number, value: number) => number } {
  const layout = layOut(SIZES);
  const words = new Int32Array(layout.words);
  const cellOf = (field: number, frame: number): number =>
    layout.regions.records.offset + field * SIZES.frames + frame;
  const set = (field: number, frame: number, value: number): number => {
    words[cellOf(field, frame)] = value;
    return cellOf(field, frame);
  };
  set(0, TABLE, FrameUse.pool);
  set(1, TABLE, LEAF_TYPE);
  const lifetimes = new Lifetimes(words, layout);
  lifetimes.begin();
  return { lifetimes, set };
}

describe("a pointer to a table", () => {
  test("is good once it was read, and while nobody takes the page for something else", () => {
    const { lifetimes, set } = machine();
    expect(lifetimes.followsTable(0, TABLE, 1)).toMatch(/never read/);
    lifetimes.readsEntry(0, (TABLE << 12) | 1, 0, 2);
    expect(lifetimes.followsTable(0, TABLE, 3)).toBeUndefined();
    // Freed, but its contents stay: only reuse must wait for flushes.
    lifetimes.recordWritten(set(1, TABLE, 0), 4);
    expect(lifetimes.followsTable(0, TABLE, 5)).toBeUndefined();
    lifetimes.recordWritten(set(1, TABLE, LEAF_TYPE), 6);
    expect(lifetimes.followsTable(0, TABLE, 9)).toMatch(
      /read 7 steps ago .* taken for another table 3 steps ago/,
    );
    lifetimes.readsPointer(0, TABLE, 10);
    expect(lifetimes.followsTable(0, TABLE, 11)).toBeUndefined();
    expect(lifetimes.followsTable(1, TABLE, 11)).toMatch(/never read/);
  });

  test("to what is no table is bad", () => {
    const { lifetimes, set } = machine();
    lifetimes.readsPointer(0, TABLE, 1);
    lifetimes.recordWritten(set(0, TABLE, FrameUse.heap), 2);
    expect(lifetimes.followsTable(0, TABLE, 3)).toMatch(/which is no table/);
  });

  test("an entry that is not present is none", () => {
    const { lifetimes } = machine();
    lifetimes.readsEntry(0, TABLE << 12, 0, 1);
    expect(lifetimes.followsTable(0, TABLE, 2)).toMatch(/never read/);
  });
});

test("pages are the guest's or nobody's, and the holder of the lock must know which", () => {
  const { lifetimes, set } = machine();
  expect(lifetimes.accessesPage(TABLE)).toMatch(/not the guest's memory/);
  set(0, TABLE + 1, FrameUse.guest);
  expect(lifetimes.accessesPage(TABLE + 1)).toBeUndefined();
  expect(lifetimes.holderAccesses(TABLE)).toBeUndefined();
  set(1, TABLE, 0);
  expect(lifetimes.holderAccesses(TABLE)).toMatch(/after it was freed/);
  expect(lifetimes.holderAccesses(TABLE + 2)).toMatch(/after it was freed/);
});

function valuesSince(log: WriteLog, since: number): string[] {
  const values: string[] = [];
  log.some(2, 2, since, (low, high) => {
    values.push(`${String(low)},${String(high)}`);
    return false;
  });
  return values;
}

describe("the log of writes", () => {
  test("gives what an entry held since a step, whole when it was written whole", () => {
    const words = new Int32Array(8);
    const log = new WriteLog(words);
    log.begin();
    for (const [step, low, high] of [
      [1, 10, 11],
      [2, 20, 21],
    ] as const) {
      log.note(2, step);
      log.note(3, step);
      words.set([low, high], 2);
    }
    log.note(3, 3);
    words[3] = 99;
    expect(valuesSince(log, 0)).toEqual(["20,99", "20,21", "10,11", "0,0"]);
    expect(valuesSince(log, 1)).toEqual(["20,99", "20,21", "10,11"]);
    expect(valuesSince(log, 3)).toEqual(["20,99"]);
    expect(log.some(2, 2, 0, (low) => low === 10)).toBe(true);
    log.begin();
    expect(valuesSince(log, 0)).toEqual(["20,99"]);
  });

  test("grows", () => {
    const words = new Int32Array(8);
    const log = new WriteLog(words);
    log.begin();
    for (let step = 1; step < 10_000; step++) {
      log.note(2, step);
      words[2] = step;
    }
    expect(valuesSince(log, 9_997)).toEqual(["9999,0", "9998,0", "9997,0"]);
  });
});
