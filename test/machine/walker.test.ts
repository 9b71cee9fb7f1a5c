import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Rights } from "../../src/machine/access-rights.ts";
import { entryHigh, entryLow, frameOfEntry } from "../../src/machine/entry.ts";
import { FaultCode } from "../../src/machine/fault-code.ts";
import { AccessedPolicy, WalkFormat, WalkMode } from "../../src/machine/walker.ts";
import type { Walker } from "../../src/machine/walker.ts";
import {
  ADDRESS,
  ask,
  askTheBook,
  chain,
  differs,
  halves,
  memory,
  plant,
  questions,
  walk,
  walkerOf,
} from "./walker-questions.ts";
import { place, slotOf } from "./walker-reference.ts";

const { twoLevel, pae, fourLevel } = WalkFormat;
const { onSuccess, none } = AccessedPolicy;
const { write, user, fetch, implicit } = FaultCode;
const { wp, smep, smap, ac, nxe, pse, pse36, gigabyte } = WalkMode;

describe("against the manual's own words", () => {
  test.each([
    { name: "2-level", format: twoLevel },
    { name: "PAE", format: pae },
    { name: "4-level", format: fourLevel },
  ])("a walk of $name tables answers and marks as it should", ({ format }) => {
    fc.assert(
      fc.property(questions(format), (question) => {
        expect(ask(question)).toEqual(askTheBook(question));
      }),
      { numRuns: 3000 },
    );
  });

  test("an entry that was corrupted behind the manual's back is noticed", () => {
    for (const bit of [0, 1, 2, 7, 12, 30, 39, 40, 51, 63]) {
      const question = chain({ access: write | user, mode: wp });
      const corrupted = new Map(question.entries);
      const leaf = place(4, slotOf(fourLevel, 1, question.address));
      corrupted.set(leaf, (corrupted.get(leaf) ?? 0n) ^ (1n << BigInt(bit)));
      // PAT alone changes no answer.
      expect([bit, differs(ask({ ...question, entries: corrupted }), askTheBook(question))]).toEqual([
        bit,
        bit !== 7,
      ]);
    }
  });
});

/** Entries of a 4-level walk from the top, and what comes of them. */
describe("what refuses a walk", () => {
  const page = 0x4_5067n;
  test.each([
    { why: "nothing", access: 0, mode: 0, code: 0 },
    {
      why: "an entry of level 4 that is not present",
      entries: [0n],
      access: write | user,
      code: 6,
      level: 4,
    },
    { why: "one of level 3", entries: [0x2007n, 0x3006n], access: write, code: 2, level: 3 },
    { why: "one of level 2", entries: [0x2007n, 0x3007n, 0x4006n], access: user, code: 4, level: 2 },
    { why: "one of level 1", leaf: 0x5066n, access: 0, code: 0, level: 1 },
    { why: "a bit beyond the physical address", leaf: page | (1n << 40n), access: 0, code: 9 },
    { why: "the highest such bit", leaf: page | (1n << 51n), access: write, code: 11 },
    { why: "not a bit that software may use", leaf: page | (0x7ffn << 52n), access: 0, mode: nxe, code: 0 },
    { why: "XD while NXE is off", leaf: page | (1n << 63n), access: user, code: 13 },
    { why: "PS at level 4", entries: [0x2087n], access: 0, code: 9, level: 4 },
    {
      why: "PS at level 3 without 1 GiB pages",
      entries: [0x2007n, 0x4000_0087n],
      access: 0,
      code: 9,
      level: 3,
    },
    {
      why: "not PS at level 3 with them",
      entries: [0x2007n, 0x4000_10e7n],
      access: write,
      mode: gigabyte,
      code: 0,
    },
    {
      why: "an address bit below a 1 GiB page",
      entries: [0x2007n, 0x6000_00e7n],
      access: 0,
      mode: gigabyte,
      code: 9,
      level: 3,
    },
    {
      why: "an address bit below a 2 MiB page",
      entries: [0x2007n, 0x3007n, 0x10_00e7n],
      access: 0,
      code: 9,
      level: 2,
    },
    { why: "not the PAT bit of a 2 MiB page", entries: [0x2007n, 0x3007n, 0x20_10e7n], access: 0, code: 0 },
    { why: "a user access to a supervisor page", leaf: 0x5063n, access: user, code: 5 },
    { why: "not the same by the supervisor", leaf: 0x5063n, access: write, mode: wp, code: 0 },
    { why: "U/S of an upper level", entries: [0x2003n, 0x3007n, 0x4007n, page], access: user, code: 5 },
    { why: "a user's write to a read-only page", leaf: 0x5065n, access: write | user, code: 7 },
    {
      why: "R/W of an upper level",
      entries: [0x2007n, 0x3005n, 0x4007n, page],
      access: write | user,
      code: 7,
    },
    { why: "a supervisor's write to it with WP", leaf: 0x5065n, access: write, mode: wp, code: 3 },
    { why: "not without WP", leaf: 0x5065n, access: write, code: 0 },
    { why: "a fetch from an XD page", leaf: page | (1n << 63n), access: fetch | user, mode: nxe, code: 21 },
    { why: "not a read of one", leaf: page | (1n << 63n), access: user, mode: nxe, code: 0 },
    {
      why: "XD of an upper level",
      entries: [0x2007n | (1n << 63n), 0x3007n, 0x4007n, page],
      access: fetch,
      mode: nxe,
      code: 17,
    },
    { why: "SMEP for a fetch from a user page", access: fetch, mode: smep, code: 17 },
    { why: "not SMEP for a user's fetch", access: fetch | user, mode: smep, code: 0 },
    { why: "not SMEP for a supervisor page", leaf: 0x5063n, access: fetch, mode: smep, code: 0 },
    { why: "SMAP for a read of a user page", access: 0, mode: smap, code: 1 },
    { why: "not SMAP with AC", access: write, mode: smap | ac, code: 0 },
    { why: "SMAP with AC for an implicit access", access: implicit, mode: smap | ac, code: 1 },
    { why: "not SMAP for a fetch", access: fetch, mode: smap, code: 0 },
    {
      why: "a missing entry below one that denies",
      entries: [0x2003n, 0x3001n, 0x4000n],
      access: write | user,
      mode: wp,
      code: 6,
      level: 2,
    },
    {
      why: "a fetch that is not reported without NXE and SMEP",
      entries: [0n],
      access: fetch | user,
      code: 4,
      level: 4,
    },
    {
      why: "a fetch that is reported with NXE",
      entries: [0n],
      access: fetch | user,
      mode: nxe,
      code: 20,
      level: 4,
    },
    {
      why: "a fetch that is reported with SMEP",
      entries: [0n],
      access: fetch,
      mode: smep,
      code: 16,
      level: 4,
    },
    { why: "a table that is not memory", entries: [0x2007n, 0x6007n], access: write, code: 2, level: 2 },
  ])("$why", ({ entries, leaf, access, mode, code, level }) => {
    const question = chain({
      entries: entries ?? [0x2007n, 0x3007n, 0x4007n, leaf ?? page],
      access,
      mode: mode ?? 0,
    });
    const { answer } = ask(question);
    expect(answer.errorCode).toBe(code);
    expect(answer.stopLevel).toBe(answer.leafLevel !== 0 ? 0 : (level ?? 1));
  });
});

describe("2-level tables", () => {
  test.each([
    { why: "4 MiB page", entry: 0x1234_0000n & ~0x3f_ffffn, mode: pse, frame: 0x1_2004 },
    {
      why: "PSE-36 address bits",
      entry: 0x1200_0000n | (0xa5n << 13n),
      mode: pse | pse36,
      frame: 0xa51_2004,
    },
  ])("a $why is where its entry says", ({ entry, mode, frame }) => {
    const { answer } = ask(chain({ format: twoLevel, entries: [entry | 0xe7n], mode }));
    expect(answer).toMatchObject({ errorCode: 0, pageShift: 22, leafLevel: 2, frame });
  });

  test.each([
    { why: "address bits of PSE-36 without it", entry: 1n << 13n, mode: pse },
    { why: "bit 21 without PSE-36", entry: 1n << 21n, mode: pse },
    { why: "bit 21 with PSE-36", entry: 1n << 21n, mode: pse | pse36 },
  ])("$why are reserved in a 4 MiB page", ({ entry, mode }) => {
    const { answer } = ask(chain({ format: twoLevel, entries: [entry | 0xe7n], mode }));
    expect(answer).toMatchObject({ errorCode: 9, stopLevel: 2 });
  });

  test("PS means nothing without CR4.PSE", () => {
    const { answer } = ask(chain({ format: twoLevel, entries: [0x20e7n, 0x7_7067n], mode: 0 }));
    expect(answer).toMatchObject({ errorCode: 0, leafLevel: 1, frame: 0x77 });
  });

  test("NXE means nothing", () => {
    const { answer } = ask(chain({ format: twoLevel, entries: [0n], access: fetch, mode: nxe }));
    expect(answer.errorCode).toBe(0);
  });
});

describe("PAE tables", () => {
  test.each([1, 2, 5, 6, 7, 8, 40, 51, 52, 62, 63])("bit %d is reserved in a PDPTE", (bit) => {
    const { answer } = ask(chain({ format: pae, entries: [0x2001n | (1n << BigInt(bit))], mode: nxe }));
    expect(answer).toMatchObject({ errorCode: 9, stopLevel: 3 });
  });

  test.each([3, 4, 9, 10, 11])("bit %d is not, and a PDPTE takes away no rights and gets no A", (bit) => {
    const pdpte = 0x2001n | (1n << BigInt(bit));
    for (const policy of Object.values(AccessedPolicy)) {
      const entries = [pdpte, 0x3007n, 0x9047n];
      const question = chain({ format: pae, entries, access: write | user, policy });
      const { answer } = ask(question);
      expect(answer).toMatchObject({ errorCode: 0, rights: Rights.all, frame: 9, dirty: 1 });
      expect(walkerOf(question).entryLow[3]).toBe(Number(pdpte));
      expect(walkerOf(question).entryCell[3]).toBe(0);
    }
  });

  test.each([52, 62])("bit %d is reserved below", (bit) => {
    for (const entries of [[0x3007n | (1n << BigInt(bit))], [0x3007n, 0x9007n | (1n << BigInt(bit))]]) {
      const { answer } = ask(chain({ format: pae, entries: [0x2001n, ...entries] }));
      expect(answer).toMatchObject({ errorCode: 9, stopLevel: 3 - entries.length });
    }
  });
});

describe("a walk that starts below the top", () => {
  test("judges by the rights it was given and leaves the levels above empty", () => {
    const question = chain({ entries: [0x2007n, 0x3007n, 0x4007n, 0x9067n] });
    plant(question);
    const walker = walkerOf(question);
    ask(question);
    const [low, high] = halves(question.address);
    expect(walker.walk(fourLevel, 1, 4, Rights.user, low, high, user, 0)).toBe(true);
    expect(walker.rights).toBe(Rights.user);
    expect([...walker.entryLow]).toEqual([0, 0x9067, 0, 0, 0]);
    expect([...walker.tableFrame]).toEqual([0, 4, 0, 0, 0]);
    expect(walker.walk(fourLevel, 1, 4, Rights.user, low, high, write | user, 0)).toBe(false);
    expect(walker.errorCode).toBe(7);
  });

  test("goes on from a table that PAE's PDPTEs do not name", () => {
    const question = chain({ format: pae, entries: [0x2000n, 0x3007n, 0x9067n] });
    plant(question);
    const [low] = halves(question.address);
    expect(walkerOf(question).walk(pae, 2, 2, Rights.all, low, 0, user, 0)).toBe(true);
    expect(walkerOf(question).frame).toBe(9);
  });
});

describe("an entry that changes under the walk", () => {
  const entries = [0x2027n, 0x3007n, 0x4027n, 0x9027n];
  const level3 = cellOf(2, 3);
  const leaf = cellOf(4, 1);

  test("is read again if it leads on, and its old rights do not count", () => {
    const question = chain({ entries: [0x2027n, 0x3001n, 0x4027n, 0x9027n], access: write | user });
    plant(question);
    const walker = changingOnce(level3, 0x3007, () => walk(question));
    expect(walker).toMatchObject({ errorCode: 0, rights: Rights.all, frame: 9 });
    expect(memory.loadEntry(level3)).toBe(0x3027);
  });

  test("is read again and refuses, if it went away", () => {
    const question = chain({ entries });
    plant(question);
    const walker = changingOnce(level3, 0, () => walk(question));
    expect(walker).toMatchObject({ errorCode: 0, stopLevel: 3, leafLevel: 0, writtenLevels: 0 });
    expect(memory.loadEntry(level3)).toBe(0);
  });

  test("has the whole walk done anew if it is the leaf", () => {
    const question = chain({ entries: [0x2027n, 0x3027n, 0x4027n, 0x9007n], access: write });
    plant(question);
    const walker = changingOnce(
      leaf,
      0x8007,
      () => walk(question),
      () => memory.storeEntry(cellOf(3, 2), 0x60_00a7, 0),
    );
    expect(walker).toMatchObject({
      errorCode: 0,
      leafLevel: 2,
      frame: 0x600 + 0x42,
      dirty: 1,
      writtenLevels: 4,
    });
    expect([...walker.entryLow]).toEqual([0, 0, 0x60_00e7, 0x3027, 0x2027]);
    expect([...walker.entryCell.subarray(0, 2), ...walker.tableMfn.subarray(0, 2)]).toEqual([0, 0, 0, 0]);
    expect(memory.loadEntry(leaf)).toBe(0x8007);
  });

  test("is left alone by a walk that marks on success, but its copy has the bits", () => {
    const question = chain({ entries, access: write, policy: onSuccess });
    plant(question);
    const walker = changingOnce(level3, 0x8007, () => walk(question));
    expect(walker).toMatchObject({ errorCode: 0, frame: 9, dirty: 1, writtenLevels: 2 });
    expect(walker.entryLow[3]).toBe(0x3027);
    expect(memory.loadEntry(level3)).toBe(0x8007);
  });

  test("is read again in a table of 4-byte entries too", () => {
    const question = chain({ format: twoLevel, entries: [0x2001n, 0x9027n], access: write | user });
    plant(question);
    const cell = (1 << 10) | slotOf(twoLevel, 2, question.address);
    const walker = changingOnce(cell, 0x2007, () => walk(question));
    expect(walker).toMatchObject({ errorCode: 0, rights: Rights.all, frame: 9, writtenLevels: 6 });
    expect(memory.loadWord(cell)).toBe(0x2027);
  });
});

test("a walk that must not write says what it would find", () => {
  const question = chain({ entries: [0x2007n, 0x3007n, 0x4007n, 0x9007n], access: write, policy: none });
  expect(ask(question)).toEqual({
    answer: expect.objectContaining({ errorCode: 0, frame: 9, dirty: 0 }),
    entries: question.entries,
  });
  expect(walkerOf(question).writtenLevels).toBe(0);
});

test("a walk notes which tables it wrote to", () => {
  const question = chain({ entries: [0x2007n, 0x3027n, 0x4007n, 0x9027n], access: write });
  ask(question);
  expect(walkerOf(question).writtenLevels).toBe((1 << 4) | (1 << 2) | (1 << 1));
});

test("an entry holds the frame it was made for", () => {
  fc.assert(
    fc.property(fc.nat(0x0fff_ffff), fc.nat(0xfff), (frame, flags) => {
      const low = entryLow(frame, flags);
      return frameOfEntry(low, entryHigh(frame)) === frame && (low & 0xfff) === flags;
    }),
  );
});

/** The cell of the entry that the usual address has in a table of a level. */
function cellOf(mfn: number, level: number): number {
  return (mfn << 10) | (slotOf(fourLevel, level, ADDRESS) << 1);
}

/** Runs with memory where somebody else changes the entry in `cell` just before the first attempt to mark it. */
function changingOnce(cell: number, low: number, run: () => Walker, also?: () => void): Walker {
  const exchangeEntry = memory.compareExchangeEntry.bind(memory);
  const exchangeWord = memory.compareExchangeWord.bind(memory);
  let isChanged = false;
  const change = (at: number): void => {
    if (at !== cell || isChanged) return;
    isChanged = true;
    memory.storeWord(cell, low);
    also?.();
  };
  memory.compareExchangeEntry = function exchange(at, ...rest): boolean {
    change(at);
    return exchangeEntry(at, ...rest);
  };
  memory.compareExchangeWord = function exchange(at, ...rest): number {
    change(at);
    return exchangeWord(at, ...rest);
  };
  try {
    return run();
  } finally {
    Reflect.deleteProperty(memory, "compareExchangeEntry");
    Reflect.deleteProperty(memory, "compareExchangeWord");
    expect(isChanged).toBe(true);
  }
}
