/** What recordings of real guests may hold and the bundled ones do not, for guests with 8-byte entries. */
import { expect, test } from "vitest";
import { TraceBuilder } from "../../guest/trace/trace-builder.ts";
import { replayHere } from "./replay-here.ts";

const MIB = 2 ** 20;
const RAM = 8 * MIB;
const PAGING_OFF = 0x6000_0011;
const PAGING_ON = 0x8005_0033;
const PAE = 0x20;
const SMEP = 0x10_0000;
const SMAP = 0x20_0000;
const [LME, NXE] = [0x100, 0x800];

const NX = 1n << 63n;
const LARGE = 0x1e3;
const USER = 0x67;
const TABLE = 0x67;

const PDPT = 0x10_0000;
const LOW_DIRECTORY = 0x10_1000;
const HIGH_DIRECTORY = 0x10_2000;
const LEAF = 0x10_3000;
const OTHER_DIRECTORY = 0x10_4000;
const ROOT4 = 0x10_5000;
const KERNEL3 = 0x10_6000;
const USER3 = 0x10_7000;
const LINEAR = 0x40_0000;

/** The 1–1 map of 8 MiB. */
const LARGE_PAGES = { 0: LARGE, 1: 0x20_0000 | LARGE, 2: 0x40_0000 | LARGE, 3: 0x60_0000 | LARGE };

function paeGuest(efer = NXE): TraceBuilder {
  return new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: PDPT + 0x20, cr4: PAE, efer })
    .page(PDPT, 3, 8, { 4: LOW_DIRECTORY | 1, 7: HIGH_DIRECTORY | 1 })
    .page(LOW_DIRECTORY, 2, 8, { 2: LEAF | TABLE })
    .page(HIGH_DIRECTORY, 2, 8, LARGE_PAGES)
    .page(LEAF, 1, 8, { 0: 0x20_0000 | USER, 1: BigInt(0x20_1000 | USER) | NX });
}

function longGuest(cr4 = PAE): TraceBuilder {
  return new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT4, cr4, efer: LME | NXE | 0x400 })
    .page(ROOT4, 4, 8, { 0: USER3 | TABLE, 273: KERNEL3 | TABLE })
    .page(USER3, 3, 8, { 0: LOW_DIRECTORY | TABLE })
    .page(KERNEL3, 3, 8, { 0: HIGH_DIRECTORY | TABLE })
    .page(LOW_DIRECTORY, 2, 8, { 2: LEAF | TABLE })
    .page(HIGH_DIRECTORY, 2, 8, LARGE_PAGES)
    .page(LEAF, 1, 8, { 0: 0x20_0000 | USER, 1: BigInt(0x20_1000 | USER) | NX });
}

const direct32 = (physical: number): { physical: number; linear: number } => ({
  physical,
  linear: 0xc000_0000 + physical,
});
const direct64 = (physical: number): { physical: number; linear: bigint } => ({
  physical,
  linear: 0xffff_8880_0000_0000n + BigInt(physical),
});

test("PAE: entries written as halves, and PDPTEs looked at only when CR3 is loaded", () => {
  const trace = paeGuest()
    .page(OTHER_DIRECTORY, 2, 8, { 2: LEAF | TABLE })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .store({ ...direct32(LEAF), size: 4, value: 0 })
    .store({ ...direct32(LEAF + 4), size: 4, value: 0x8000_0000 })
    .store({ ...direct32(LEAF), size: 4, value: 0x21_0000 | USER })
    .invlpg(LINEAR)
    .fault(LINEAR, 0x15, { cpl: 3 })
    .walk({ linear: LINEAR, physical: 0x21_0000, user: true, rights: 3 })
    // The snapshot still names the old directory, so that an address of the new one alone does not translate.
    .store({ ...direct32(PDPT + 0x28), size: 8, value: OTHER_DIRECTORY | 1 })
    .fault(0x4000_0000 + LINEAR, 4, { cpl: 3 })
    .cr(3, PDPT + 0x20)
    .walk({ linear: 0x4000_0000 + LINEAR, physical: 0x21_0000, user: true, rights: 3 });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("PAE: data beside a PDPT changes without anybody noticing", () => {
  const trace = paeGuest().walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  trace
    .page(PDPT, 3, 8, { 4: LOW_DIRECTORY | 1, 7: HIGH_DIRECTORY | 1, 100: 0x1234_5678_9abc_def0n })
    .walk({ ...direct32(PDPT + 0x800), access: "write", shift: 21 });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect(result.counter("emulated_stores")).toBe(0);
});

test("NX: fetches of such pages fault, and EFER is written", () => {
  const trace = paeGuest()
    .walk({ linear: LINEAR + 0x1000, physical: 0x20_1000, user: true, rights: 3 })
    .fault(LINEAR + 0x1000, 0x15, { cpl: 3 })
    .efer(0)
    .cr(3, PDPT + 0x20)
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true, access: "fetch" });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("4-level: SMAP is enforced unless AC lifts it, and always for implicit accesses", () => {
  const trace = longGuest(PAE | SMAP)
    .fault(LINEAR, 1)
    .walk({ linear: LINEAR, physical: 0x20_0000 })
    .fault(LINEAR, 1)
    .fault(LINEAR, 1, { cpl: 3, ac: true })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .cr(4, PAE)
    .walk({ linear: LINEAR, physical: 0x20_0000 });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("4-level: SMEP refuses fetches of user pages, and is switched on and off", () => {
  const trace = longGuest()
    .walk({ linear: LINEAR, physical: 0x20_0000, access: "fetch" })
    .cr(4, PAE | SMEP)
    .fault(LINEAR, 0x11)
    .walk({ linear: LINEAR, physical: 0x20_0000, rights: 3 })
    .cr(4, PAE)
    .walk({ linear: LINEAR, physical: 0x20_0000, access: "fetch" });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("4-level: reserved bits fault at every level", () => {
  const trace = longGuest().walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  for (const table of [LEAF, LOW_DIRECTORY + 16, USER3, ROOT4]) {
    trace
      .store({ ...direct64(table + 4), size: 4, value: 0x0001_0000 })
      .invlpg(LINEAR)
      .fault(LINEAR, 0xd, { cpl: 3 })
      .store({ ...direct64(table + 4), size: 4, value: 0 });
  }
  trace.walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("4-level: an upper entry that names no memory, or a table of zeroes, is the guest's own affair", () => {
  const trace = longGuest()
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .store({ ...direct64(USER3), size: 8, value: 0x7_0000_0000n | 0x67n })
    .invlpg(LINEAR)
    .fault(LINEAR, 4, { cpl: 3 })
    .store({ ...direct64(USER3), size: 8, value: 0x30_0067 })
    .fault(LINEAR, 4, { cpl: 3 })
    .store({ ...direct64(USER3), size: 8, value: LOW_DIRECTORY | TABLE })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("4-level: A that a refused walk set in two upper entries may be missing", () => {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT4, cr4: PAE, efer: LME | NXE })
    .page(ROOT4, 4, 8, { 0: USER3 | 7, 273: KERNEL3 | TABLE })
    .page(USER3, 3, 8, { 0: LOW_DIRECTORY | 7 })
    .page(KERNEL3, 3, 8, { 0: HIGH_DIRECTORY | TABLE })
    .page(LOW_DIRECTORY, 2, 8, {})
    .page(HIGH_DIRECTORY, 2, 8, LARGE_PAGES)
    .ad(ROOT4, 4, 8, 0x20)
    .ad(USER3, 3, 8, 0x20)
    .fault(LINEAR, 4, { cpl: 3 })
    // The kernel reads the entry, A and all, and puts it back with a flag more.
    .store({ ...direct64(USER3), size: 8, value: LOW_DIRECTORY | 7 | 0x20 | 0x200 });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("from power-on through PAE to long mode and back", () => {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: 0x6000_0010 })
    .cr(0, PAGING_OFF)
    .cr(4, PAE)
    .cr(3, PDPT)
    .page(PDPT, 3, 8, { 0: LOW_DIRECTORY | 1, 3: HIGH_DIRECTORY | 1 })
    .page(LOW_DIRECTORY, 2, 8, { 2: LEAF | TABLE })
    .page(HIGH_DIRECTORY, 2, 8, LARGE_PAGES)
    .page(LEAF, 1, 8, { 0: 0x20_0000 | USER })
    .cr(0, PAGING_ON)
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .cr(0, PAGING_OFF)
    .efer(LME | NXE)
    .cr(3, ROOT4)
    .page(ROOT4, 4, 8, { 0: USER3 | TABLE, 273: KERNEL3 | TABLE })
    .page(USER3, 3, 8, { 0: LOW_DIRECTORY | TABLE })
    .page(KERNEL3, 3, 8, { 0: HIGH_DIRECTORY | TABLE })
    .cr(0, PAGING_ON)
    .store({ ...direct64(LEAF), size: 8, value: 0x22_0000 | USER })
    .walk({ linear: LINEAR, physical: 0x22_0000, user: true })
    .cr(0, 0x6000_0010)
    .cr(4, PAE)
    .cr(3, PDPT)
    .cr(0, PAGING_ON)
    .walk({ linear: LINEAR, physical: 0x22_0000, user: true });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("two roots of one process, as with page-table isolation", () => {
  const isolated = 0x10_8000;
  const trace = longGuest()
    .page(isolated, 4, 8, { 0: USER3 | TABLE })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .cr(3, isolated)
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .fault(0xffff_8880_0000_0000n, 0)
    .cr(3, ROOT4)
    .store({ ...direct64(LEAF), size: 8, value: 0x23_0000 | USER })
    .cr(3, isolated)
    .walk({ linear: LINEAR, physical: 0x23_0000, user: true });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("a control register write that no CPU permits is told", () => {
  const trace = longGuest().walk({ linear: LINEAR, physical: 0x20_0000, user: true }).cr(4, 0);
  expect(replayHere(trace).wrong).toEqual(["Record 13: the control register write was refused."]);
});

test("a root that is no memory stops the replay", () => {
  const trace = longGuest().cr(3, 0x1000_0000).walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  const result = replayHere(trace);
  expect(result.isFinished).toBe(false);
  expect(result.wrong[0]).toContain("the root that CR3 names is not memory");
});
