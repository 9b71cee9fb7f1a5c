/** Rights that a shadow out of sync still grants: counted as legal when the trace proves it, a mismatch when it does not. */
import { describe, expect, test } from "vitest";
import type { HostedVcpu } from "../../../src/hypervisor/machine.ts";
import { PRESETS } from "../../../src/hypervisor/machine-config.ts";
import { TraceBuilder } from "../../guest/trace/trace-builder.ts";
import { replayHere } from "./replay-here.ts";
import type { HereResult } from "./replay-here.ts";

const RAM = 8 * 2 ** 20;
const PAGING_ON = 0x8005_0033;
const PSE = 0x10;
const PAE = 0x20;
const NXE = 0x800;
const LARGE = 0x1e3;
/** P, RW, US, A, D. */
const USER = 0x67;
const READ_ONLY = USER & ~2;
const SUPERVISOR = USER & ~4;
const NX = 1n << 63n;

const ROOT = 0x10_0000;
const LEAF = 0x10_1000;
const DIRECTORY = 0x10_2000;
const HIGH_DIRECTORY = 0x10_3000;
const DIRECT_MAP = 0xc000_0000;
const LINEAR = 0x40_0000;
const PAGE = 0x20_0000;

const [READ, WRITE, EXECUTE] = [1, 2, 4];
const OUT_OF_SYNC = { switches: { ...PRESETS.talk, "out-of-sync": true } };

/** A guest whose leaf table is out of sync, as it has stored to the table and then to it again. */
function twoLevel(entry = PAGE | USER): TraceBuilder {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
    .page(ROOT, 2, 4, { 1: LEAF | USER, 768: LARGE })
    .page(LEAF, 1, 4, { 0: entry })
    .walk({ linear: LINEAR, physical: PAGE, access: "write", user: true });
  for (const slot of [9, 10]) store(trace, slot, 0x21_0000 | USER);
  return trace;
}

function store(trace: TraceBuilder, slot: number, entry: number): TraceBuilder {
  const physical = LEAF + slot * 4;
  return trace.store({ physical, linear: DIRECT_MAP + physical, size: 4, value: entry });
}

function pae(entry: bigint): TraceBuilder {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PAE, efer: NXE })
    .page(ROOT, 3, 8, { 0: DIRECTORY | 1, 3: HIGH_DIRECTORY | 1 })
    .page(DIRECTORY, 2, 8, { 2: LEAF | USER })
    .page(HIGH_DIRECTORY, 2, 8, { 0: LARGE })
    .page(LEAF, 1, 8, { 0: entry })
    .walk({ linear: LINEAR, physical: PAGE, user: true });
  for (const slot of [9, 10]) storeHalf(trace, slot * 8, 0x21_0000 | USER);
  return trace;
}

/** A 4-byte store to the PAE leaf table. */
function storeHalf(trace: TraceBuilder, offset: number, value: number): TraceBuilder {
  const physical = LEAF + offset;
  return trace.store({ physical, linear: DIRECT_MAP + physical, size: 4, value });
}

/** What was wrong, and what was legal. */
function judged(trace: TraceBuilder, prepare?: (hosted: HostedVcpu) => void): [string[], number] {
  const result: HereResult = replayHere(trace, OUT_OF_SYNC, prepare);
  expect([result.isFinished, result.counter("unsync") > 0]).toEqual([true, true]);
  expect(result.legalDifferences).toBeGreaterThanOrEqual(result.legalRights);
  return [[...result.wrong], result.legalRights];
}

/** An entry that is stored, and the fault with it. */
function refused(entry: number, code: number): [string[], number] {
  return judged(store(twoLevel(), 0, entry).fault(LINEAR, code, { cpl: 3 }));
}

/** INVLPG leaves the shadow as it is. */
function forgetful({ paging }: HostedVcpu): void {
  paging.invlpg = () => true;
}

/** No leaf withholds execution. */
function executable({ shadow: { entries } }: HostedVcpu): void {
  const setLeaf = entries.setLeaf.bind(entries);
  entries.setLeaf = (cell, low, high) => setLeaf(cell, low, high & ~-(2 ** 31));
}

const readOnlyWalk = { linear: LINEAR, physical: PAGE, user: true, rights: READ | EXECUTE };

/** An entry that is writable and not executable becomes executable and not writable, in two stores. */
function swapped(): TraceBuilder {
  const stored = pae(BigInt(PAGE | USER) | NX);
  storeHalf(stored, 0, PAGE | READ_ONLY);
  return storeHalf(stored, 4, 0).walk(readOnlyWalk);
}

describe("without a flush between", () => {
  test("write access that the guest took away may still be there", () => {
    expect(judged(store(twoLevel(), 0, PAGE | READ_ONLY).walk(readOnlyWalk))).toEqual([[], 1]);
  });

  test("an access may be done that the recorded CPU refused", () => {
    expect(refused(PAGE | READ_ONLY, 7)).toEqual([[], 1]);
    expect(refused(PAGE | SUPERVISOR, 5)).toEqual([[], 1]);
    expect(refused(0, 4)).toEqual([[], 1]);
  });

  test("execution may still be allowed, of an entry that was stored as two halves, or as one", () => {
    const noExecute = { linear: LINEAR, physical: PAGE, user: true, rights: READ | WRITE };
    const halves = storeHalf(pae(BigInt(PAGE | USER)), 4, -(2 ** 31));
    expect(judged(halves.walk(noExecute))).toEqual([[], 1]);
    const whole = pae(BigInt(PAGE | USER)).store({
      physical: LEAF,
      linear: DIRECT_MAP + LEAF,
      size: 8,
      value: BigInt(PAGE | USER) | NX,
    });
    expect(judged(whole.walk(noExecute))).toEqual([[], 1]);
  });

  test("of two halves the low one may be what changed", () => {
    const trace = pae(BigInt(PAGE | USER));
    storeHalf(trace, 0, PAGE | READ_ONLY);
    expect(judged(trace.walk(readOnlyWalk))).toEqual([[], 1]);
  });
});

describe("it is a mismatch", () => {
  const surplus = /^record \d+, FILL of CPU 0: .*: grants write too$/;

  test("when the CPU has invalidated the page, and the shadow has not followed", () => {
    const trace = (): TraceBuilder =>
      store(twoLevel(), 0, PAGE | READ_ONLY)
        .invlpg(LINEAR)
        .walk(readOnlyWalk);
    expect(judged(trace())).toEqual([[], 0]);
    expect(judged(trace(), forgetful)).toEqual([[expect.stringMatching(surplus)], 0]);
    const fault = store(twoLevel(), 0, 0).invlpg(LINEAR).fault(LINEAR, 4, { cpl: 3 });
    expect(judged(fault, forgetful)).toEqual([[expect.stringMatching(/^record \d+, PF of CPU 0: /)], 0]);
  });

  test("not when another page was invalidated, for then the CPU may have kept the translation", () => {
    const trace = store(twoLevel(), 0, PAGE | READ_ONLY)
      .invlpg(LINEAR + 0x9000)
      .walk(readOnlyWalk);
    expect(judged(trace)).toEqual([[], 1]);
  });

  test("when the entry never granted it", () => {
    const wide = ({ shadow }: HostedVcpu): void => {
      const { entries, p2m } = shadow;
      const setLeaf = entries.setLeaf.bind(entries);
      entries.setLeaf = (cell, low, high) => {
        const isPage = shadow.frameIn(low, high) === p2m.frameOf(PAGE / 4096);
        return setLeaf(cell, isPage ? low | 2 : low, high);
      };
    };
    const trace = new TraceBuilder(RAM)
      .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
      .page(ROOT, 2, 4, { 1: LEAF | USER, 768: LARGE })
      .page(LEAF, 1, 4, { 0: PAGE | READ_ONLY });
    for (const slot of [9, 10]) store(trace, slot, 0x21_0000 | USER);
    const result = replayHere(trace.walk(readOnlyWalk), OUT_OF_SYNC, wide);
    expect([result.wrong[0], result.legalRights]).toEqual([expect.stringMatching(surplus), 0]);
  });

  test("when the entry granted each right at some time, but never both", () => {
    expect(judged(swapped())).toEqual([[], 1]);
    const result = replayHere(swapped(), OUT_OF_SYNC, executable);
    expect([result.wrong[0], result.legalRights]).toEqual([expect.stringMatching(surplus), 0]);
  });

  test("when the frame is another, whatever the entry was", () => {
    const trace = store(twoLevel(), 0, 0x22_0000 | USER).walk({
      linear: LINEAR,
      physical: 0x22_0000,
      user: true,
    });
    expect(judged(trace)).toEqual([[expect.stringMatching(/it ended in frame 0x200$/)], 0]);
  });

  test("without out-of-sync shadows there is none, for the store is seen at once", () => {
    const result = replayHere(store(twoLevel(), 0, PAGE | READ_ONLY).walk(readOnlyWalk));
    expect([result.wrong, result.legalDifferences]).toEqual([[], 0]);
  });
});
