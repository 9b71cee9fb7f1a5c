/** The race detector by itself: what orders accesses, and what does not. */
import { describe, expect, test } from "vitest";
import { RaceDetector } from "../../src/checks/race.ts";
import type { Race } from "../../src/checks/race.ts";

const CELL = 3;
const OTHER = 5;
const LOCK = 7;
const WIDE = 1 << 20;

function detector(): RaceDetector {
  const made = new RaceDetector(16, 3);
  made.begin();
  return made;
}

function sides(race: Race | undefined): unknown {
  return race && [race.cell, race.earlier.thread, race.earlier.what, race.later.thread, race.later.what];
}

describe("plain accesses", () => {
  test("of one thread never race", () => {
    const races = detector();
    expect(races.write(0, CELL, 1, 0)).toBeUndefined();
    expect(races.read(0, CELL, 2, 0)).toBeUndefined();
    expect(races.write(0, CELL, 3, 0)).toBeUndefined();
  });

  test("that only read never race", () => {
    const races = detector();
    expect(races.read(0, CELL, 1, 0)).toBeUndefined();
    expect(races.read(1, CELL, 2, 0)).toBeUndefined();
  });

  test.each([
    { name: "write and read", first: "write", second: "read" },
    { name: "read and write", first: "read", second: "write" },
    { name: "write and write", first: "write", second: "write" },
  ] as const)("$name of two threads race, and both sides are told", ({ first, second }) => {
    const races = detector();
    expect(races[first](0, CELL, 11, 8)).toBeUndefined();
    const race = races[second](1, CELL, 12, 9);
    expect(sides(race)).toEqual([CELL, 0, 11, 1, 12]);
    expect(race?.earlier).toMatchObject({ isWrite: first === "write", isAtomic: false, value: 8 });
    expect(race?.later).toMatchObject({ isWrite: second === "write", isAtomic: false, value: 9 });
  });

  test("a write races with the reader among several that it does not know of", () => {
    const races = detector();
    races.read(0, CELL, 1, 0);
    races.read(1, CELL, 2, 0);
    races.release(0, LOCK, false);
    races.acquire(2, LOCK);
    expect(sides(races.write(2, CELL, 3, 0))).toEqual([CELL, 1, 2, 2, 3]);
  });

  test("a race is told once: afterwards the later access stands", () => {
    const races = detector();
    races.write(0, CELL, 1, 0);
    expect(races.write(1, CELL, 2, 0)).toBeDefined();
    expect(races.write(1, CELL, 3, 0)).toBeUndefined();
  });
});

describe("what orders", () => {
  test("a lock, for those who take it after another has let it go", () => {
    const races = detector();
    races.write(0, CELL, 1, 0);
    races.release(0, LOCK, false);
    races.acquire(1, LOCK);
    expect(races.write(1, CELL, 2, 0)).toBeUndefined();
    expect(races.read(2, CELL, 3, 0)).toBeDefined();
  });

  test("only what came before the release", () => {
    const races = detector();
    races.release(0, LOCK, false);
    races.write(0, CELL, 1, 0);
    races.acquire(1, LOCK);
    expect(races.read(1, CELL, 2, 0)).toBeDefined();
  });

  test("an update passes on what it found, a store does not", () => {
    for (const joins of [true, false]) {
      const races = detector();
      races.write(0, CELL, 1, 0);
      races.release(0, LOCK, false);
      races.release(1, LOCK, joins);
      races.acquire(2, LOCK);
      expect(races.read(2, CELL, 2, 0) === undefined).toBe(joins);
    }
  });

  test("the beginning of a thread and its end", () => {
    const races = detector();
    races.write(0, CELL, 1, 0);
    races.follow(1, 0);
    expect(races.write(1, CELL, 2, 0)).toBeUndefined();
    expect(races.read(0, CELL, 3, 0)).toBeDefined();
    races.follow(0, 1);
    expect(races.write(0, OTHER, 4, 0)).toBeUndefined();
    expect(races.write(0, CELL, 5, 0)).toBeUndefined();
  });
});

describe("atomic accesses", () => {
  test("do not race with each other", () => {
    const races = detector();
    expect(races.atomic(0, CELL, true, 1, 0)).toBeUndefined();
    expect(races.atomic(1, CELL, true, 2, 0)).toBeUndefined();
    expect(races.atomic(2, CELL, false, 3, 0)).toBeUndefined();
  });

  test("race with plain ones", () => {
    const races = detector();
    races.atomic(0, CELL, true, 1, 0);
    expect(races.read(1, CELL, 2, 0)?.earlier.isAtomic).toBe(true);
    races.begin();
    races.read(0, CELL, 1, 0);
    expect(races.atomic(1, CELL, true, 2, 0)?.later.isAtomic).toBe(true);
    races.begin();
    races.read(0, CELL, 1, 0);
    expect(races.atomic(1, CELL, false, 2, 0)).toBeUndefined();
  });

  test("of different sizes are in no order", () => {
    const races = detector();
    races.atomic(0, CELL, true, 1 | WIDE, 0);
    expect(races.mixed(1, CELL, true, 2 | WIDE, WIDE)).toBeUndefined();
    expect(sides(races.mixed(1, CELL, false, 2, WIDE))).toEqual([CELL, 0, 1 | WIDE, 1, 2]);
    expect(races.mixed(1, OTHER, true, 2, WIDE)).toBeUndefined();
  });
});

test("an execution knows nothing of the one before", () => {
  const races = detector();
  for (let cell = 0; cell < 16; cell++) races.write(0, cell, 1, 0);
  expect(races.knows(CELL)).toBe(true);
  races.begin();
  expect(races.knows(CELL)).toBe(false);
  expect(races.write(1, CELL, 2, 0)).toBeUndefined();
});
