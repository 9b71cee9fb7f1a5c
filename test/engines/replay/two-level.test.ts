/** What recordings of real guests may hold and the bundled ones do not, for guests without PAE. */
import { expect, test } from "vitest";
import { TraceBuilder } from "../../guest/trace/trace-builder.ts";
import { replayHere } from "./replay-here.ts";

const MIB = 2 ** 20;
const RAM = 8 * MIB;
const PAGING_OFF = 0x6000_0010;
const PAGING_ON = 0x8005_0033;
const WP_OFF = 0x8004_0033;
const PSE = 0x10;

/** P, RW, A, D, PS and G: a large page of the 1–1 map. */
const LARGE = 0x1e3;
/** P, RW, US, A, D. */
const USER = 0x67;
/** P, RW, A, D. */
const KERNEL = 0x63;
const READ_ONLY = 0x61;

const ROOT = 0x10_0000;
const LEAF = 0x10_1000;
const OTHER_LEAF = 0x10_2000;
const DIRECT_MAP = 0xc000_0000;
/** Linear address of slot 0 of LEAF, which the root's slot 1 names. */
const LINEAR = 0x40_0000;

const ROOT_ENTRIES = { 1: LEAF | USER, 768: LARGE, 769: 0x40_0000 | LARGE };

/** A guest with paging on: 1–1 map, and one leaf table for user mode with the pages 2 MiB and 2 MiB + 4 KiB. */
function guest(cr0 = PAGING_ON, cr4 = PSE): TraceBuilder {
  return new TraceBuilder(RAM)
    .state(0, { cr0, cr3: ROOT, cr4 })
    .page(ROOT, 2, 4, ROOT_ENTRIES)
    .page(LEAF, 1, 4, { 0: 0x20_0000 | USER, 1: 0x20_1000 | USER });
}

function direct(physical: number): { physical: number; linear: number } {
  return { physical, linear: DIRECT_MAP + physical };
}

function store(trace: TraceBuilder, slot: number, entry: number): TraceBuilder {
  const physical = LEAF + slot * 4;
  return trace.store({ physical, linear: DIRECT_MAP + physical, size: 4, value: entry });
}

test("a guest that stays as it is agrees", () => {
  const trace = guest()
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .walk({ linear: LINEAR + 0x1004, physical: 0x20_1004, access: "write", user: true })
    .fault(0x80_0000, 4, { cpl: 3 });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect([result.fills, result.faults]).toEqual([2, 1]);
  expect(result.counter("shadow_walks")).toBeGreaterThan(0);
});

test("a store to a walked table is emulated, and the next walk sees it", () => {
  const trace = guest().walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  store(trace, 0, 0x30_0000 | USER)
    .invlpg(LINEAR)
    .walk({ linear: LINEAR, physical: 0x30_0000, user: true });
  store(trace, 0, 0).invlpg(LINEAR).fault(LINEAR, 4, { cpl: 3 });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect(result.counter("emulated_stores")).toBeGreaterThan(0);
});

test("paging goes on half-way: tables are stored at their physical addresses, then through the 1-1 map", () => {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_OFF })
    .cr(4, PSE)
    .cr(3, ROOT)
    .page(ROOT, 2, 4, ROOT_ENTRIES)
    .page(LEAF, 1, 4, { 0: 0x20_0000 | USER })
    .cr(0, PAGING_ON)
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .page(OTHER_LEAF, 1, 4, { 0: 0x21_0000 | USER })
    .store({ physical: ROOT + 8, linear: DIRECT_MAP + ROOT + 8, size: 4, value: OTHER_LEAF | USER })
    .walk({ linear: 2 * LINEAR, physical: 0x21_0000, user: true })
    .cr(0, PAGING_OFF | 1)
    .store({ physical: LEAF, linear: LEAF, size: 4, value: 0x22_0000 | USER })
    .cr(0, PAGING_ON)
    .walk({ linear: LINEAR, physical: 0x22_0000, user: true });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect(result.counter("device_writes")).toBe(0);
  expect(result.counter("update_paging_modes")).toBeGreaterThan(2);
});

test("with paging off a walk leads to where its address says", () => {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_OFF })
    .walk({ linear: 0x12_3456, physical: 0x12_3456, shift: 22 })
    .walk({ linear: 0xfee0_0030, physical: 0xfee0_0030, shift: 22 });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("INIT clears CR3, CR4 and EFER without records of their own", () => {
  const trace = guest()
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .cr(0, PAGING_OFF)
    .store({ physical: LEAF, linear: LEAF, size: 4, value: 0x23_0000 | USER })
    .cr(3, ROOT)
    .cr(0, PAGING_ON)
    // CR4.PSE is clear again, so the 1–1 map's entries name tables that are not there.
    .walk({ linear: LINEAR, physical: 0x23_0000, user: true })
    .fault(DIRECT_MAP + 0x10_0000, 0);
  expect(replayHere(trace).wrong).toEqual([]);
});

test("with WP clear the supervisor writes to read-only pages and tables", () => {
  const trace = guest(WP_OFF);
  store(trace, 1, 0x20_1000 | READ_ONLY)
    .invlpg(LINEAR + 0x1000)
    .walk({ linear: LINEAR + 0x1000, physical: 0x20_1000, access: "write", rights: 7 })
    .cr(0, PAGING_ON)
    .fault(LINEAR + 0x1000, 3);
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect(result.counter("fault_emulate_wp")).toBeGreaterThan(0);
});

test("a user-mode store to a table unshadows it and is done", () => {
  const trace = guest()
    .page(OTHER_LEAF, 1, 4, { 0: 0x21_0000 | USER })
    .store({ physical: ROOT + 8, linear: DIRECT_MAP + ROOT + 8, size: 4, value: OTHER_LEAF | USER });
  store(trace, 2, OTHER_LEAF | USER)
    .walk({ linear: 2 * LINEAR, physical: 0x21_0000, user: true })
    .store({ physical: OTHER_LEAF, linear: LINEAR + 0x2000, size: 4, value: 0x24_0000 | USER, cpl: 3 })
    .invlpg(2 * LINEAR)
    .walk({ linear: 2 * LINEAR, physical: 0x24_0000, user: true });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect(result.counter("fault_emulate_failed")).toBe(1);
});

test("what user mode may not write, the processor stored of its own accord at CPL 3", () => {
  const trace = guest()
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .store({ physical: LEAF, linear: DIRECT_MAP + LEAF, size: 4, value: 0x25_0000 | USER, cpl: 3 })
    .invlpg(LINEAR)
    .walk({ linear: LINEAR, physical: 0x25_0000, user: true });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("stores of every size, aligned or not, come out as recorded", () => {
  const trace = guest().walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  trace
    .store({ ...direct(LEAF), size: 1, value: 0x47 })
    .store({ ...direct(LEAF + 6), size: 2, value: 0x31 })
    .store({ ...direct(LEAF + 8), size: 8, value: 0x0020_5067_0020_4067n })
    .walk({ linear: LINEAR + 0x2000, physical: 0x20_4000, user: true })
    .store({ ...direct(LEAF + 10), size: 4, value: 0x5067_0021 })
    .store({ ...direct(LEAF + 17), size: 2, value: 0x2040 })
    .invlpg(LINEAR + 0x2000)
    .walk({ linear: LINEAR + 0x2000, physical: 0x21_4000, user: true });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("a store that crosses from one table into another changes both", () => {
  const trace = guest()
    .page(OTHER_LEAF, 1, 4, { 0: 0x21_0000 | USER })
    .store({ physical: ROOT + 8, linear: DIRECT_MAP + ROOT + 8, size: 4, value: OTHER_LEAF | USER })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .walk({ linear: 2 * LINEAR, physical: 0x21_0000, user: true });
  // Six bytes of the last slot of LEAF and two of the first of OTHER_LEAF.
  trace
    .store({
      physical: LEAF + 0xffa,
      linear: DIRECT_MAP + LEAF + 0xffa,
      size: 8,
      value: 0x2067_0026_0067_0000n,
      nextPage: OTHER_LEAF,
    })
    .invlpg(2 * LINEAR)
    .walk({ linear: 2 * LINEAR, physical: 0x21_2000, user: true });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("a table that no 1-1 map reaches is stored by a device, and no stale shadow answers", () => {
  // The 1–1 map ends at 4 MiB, so the table at 5 MiB is out of its reach.
  const far = 5 * MIB;
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
    .page(ROOT, 2, 4, { 1: far | USER, 768: LARGE })
    .page(far, 1, 4, { 0: 0x20_0000 | USER })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .unpt(far)
    .page(far, 1, 4, { 0: 0x30_0000 | USER, 7: 0x31_0000 | KERNEL })
    .walk({ linear: LINEAR, physical: 0x30_0000, user: true })
    .fault(LINEAR + 0x7000, 5, { cpl: 3 });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect(result.counter("device_writes")).toBe(2);
  expect(result.counter("device_modified")).toBe(1);
});

test("a clean or read-only page of the 1-1 map is no way for the words of a new table", () => {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
    .page(ROOT, 2, 4, { 1: LEAF | USER, 768: LARGE & ~0x40, 769: (0x40_0000 | LARGE) & ~2 })
    .page(LEAF, 1, 4, { 0: 0x20_0000 | USER })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true })
    .page(OTHER_LEAF, 1, 4, { 5: 0x20_0000 | USER })
    .page(5 * MIB, 1, 4, { 5: 0x20_0000 | USER });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect(result.counter("device_writes")).toBe(2);
});

test("entries that name no memory fault or reach a device, and do not end the guest", () => {
  const beyond = 0x4000_0000;
  const trace = guest().walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  trace
    .store({ physical: ROOT + 4, linear: DIRECT_MAP + ROOT + 4, size: 4, value: beyond | USER })
    .invlpg(LINEAR)
    .fault(LINEAR, 4, { cpl: 3 })
    .store({ physical: ROOT + 4, linear: DIRECT_MAP + ROOT + 4, size: 4, value: LEAF | USER })
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  store(trace, 0, beyond | USER)
    .invlpg(LINEAR)
    .walk({ linear: LINEAR + 8, physical: beyond + 8, user: true });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect(result.counter("mmio")).toBe(1);
});

test("reserved bits of a large page fault as such", () => {
  const trace = guest()
    .store({ physical: ROOT + 12, linear: DIRECT_MAP + ROOT + 12, size: 4, value: 0x40_2000 | LARGE })
    .fault(3 * LINEAR, 9);
  expect(replayHere(trace).wrong).toEqual([]);
});

test("an A bit that a refused walk set may be missing, until the guest stores to the entry", () => {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
    .page(ROOT, 2, 4, { 1: LEAF | (USER & ~0x20), 768: LARGE })
    .page(LEAF, 1, 4, {})
    .ad(ROOT + 4, 2, 4, 0x20)
    .fault(LINEAR, 4, { cpl: 3 });
  expect(replayHere(trace).wrong).toEqual([]);
  // A store of a byte over the entry reads its A, but a store beside that byte leaves it as it is.
  trace
    .store({ physical: ROOT + 6, linear: DIRECT_MAP + ROOT + 6, size: 2, value: LEAF >>> 16 })
    .store({ physical: ROOT + 4, linear: DIRECT_MAP + ROOT + 4, size: 4, value: LEAF | USER });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("an A bit that a walk set which succeeded must be there", () => {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
    .page(ROOT, 2, 4, { 1: LEAF | USER, 768: LARGE })
    .page(LEAF, 1, 4, { 0: 0x20_0000 | (USER & ~0x60) })
    .ad(LEAF, 1, 4, 0x60)
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true, access: "write" })
    .ad(LEAF + 4, 1, 4, 0x20);
  // No walk follows that could have set the last one; so it is loose, as those of refused walks are.
  expect(replayHere(trace).wrong).toEqual([]);
  trace
    .page(OTHER_LEAF, 1, 4, { 0: 0x40 })
    .ad(OTHER_LEAF, 1, 4, 0x20)
    .walk({ linear: LINEAR, physical: 0x20_0000 });
  expect(replayHere(trace).wrong).toEqual(["the table word at 0x102000 is 0x40, not 0x60"]);
});

test("the VGA hole and ROM are memory like any other", () => {
  const trace = guest()
    .walk({ linear: DIRECT_MAP + 0xb_8000, physical: 0xb_8000, access: "write", shift: 22 })
    .walk({ linear: DIRECT_MAP + 0xf_5000, physical: 0xf_5000, shift: 22 });
  expect(replayHere(trace).wrong).toEqual([]);
});

test("a FILL for a write whose CPU then stores there is that store", () => {
  const trace = new TraceBuilder(RAM)
    .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
    .page(ROOT, 2, 4, { 1: LEAF | USER, 768: LARGE & ~0x60 })
    .page(LEAF, 1, 4, { 0: 0x20_0000 | USER })
    .ad(ROOT + 768 * 4, 2, 4, 0x60)
    .walk({ linear: DIRECT_MAP + LEAF, physical: LEAF, access: "write", shift: 22 })
    .store({ physical: LEAF, linear: DIRECT_MAP + LEAF, size: 4, value: 0x26_0000 | USER })
    .walk({ linear: LINEAR, physical: 0x26_0000, user: true });
  const result = replayHere(trace);
  expect(result.wrong).toEqual([]);
  expect([result.fills, result.stores]).toEqual([2, 1]);
});

test("write is granted where the record withheld it only because D was clear", () => {
  const trace = guest()
    .walk({ linear: LINEAR, physical: 0x20_0000, user: true, rights: 5 })
    .walk({ linear: DIRECT_MAP, physical: 0, rights: 5, shift: 22 });
  expect(replayHere(trace).wrong).toEqual([]);
});

test.each([
  {
    what: "another frame",
    add: (trace: TraceBuilder) => trace.walk({ linear: LINEAR, physical: 0x20_1000, user: true }),
    wrong:
      "record 8, FILL of CPU 0: user read of 0x400000 at CPL 3 leads to 0x201000 with rights rwx: it ended in frame 0x200",
  },
  {
    what: "an access that faults",
    add: (trace: TraceBuilder) => trace.walk({ linear: 2 * LINEAR, physical: 0x20_1000, user: true }),
    wrong:
      "record 8, FILL of CPU 0: user read of 0x800000 at CPL 3 leads to 0x201000 with rights rwx: it faulted at 0x800000 with error code 4",
  },
  {
    what: "rights beyond the record",
    add: (trace: TraceBuilder) => trace.walk({ linear: LINEAR, physical: 0x20_0000, user: true, rights: 3 }),
    wrong:
      "record 8, FILL of CPU 0: user read of 0x400000 at CPL 3 leads to 0x200000 with rights rw-: grants execute too",
  },
  {
    what: "a fault that is not injected",
    add: (trace: TraceBuilder) => trace.fault(LINEAR, 4, { cpl: 3 }),
    wrong:
      "record 8, PF of CPU 0: the access to 0x400000 at CPL 3 faults with error code 4: it ended in frame 0x200",
  },
  {
    what: "another error code",
    add: (trace: TraceBuilder) => trace.fault(2 * LINEAR, 6, { cpl: 3 }).fault(2 * LINEAR, 5, { cpl: 3 }),
    wrong:
      "record 9, PF of CPU 0: the access to 0x800000 at CPL 3 faults with error code 5: it faulted at 0x800000 with error code 4",
  },
  {
    what: "a store that leads elsewhere",
    add: (trace: TraceBuilder) =>
      trace.store({ physical: LEAF, linear: DIRECT_MAP + OTHER_LEAF, size: 4, value: 0x20_0000 | USER }),
    wrong:
      "record 8, PTW of CPU 0: 4 bytes 0x200067 over 0x200067 at 0x101000 through 0xc0102000: it ended in frame 0x102",
  },
])("finds $what", ({ add, wrong }) => {
  expect(replayHere(add(guest())).wrong[0]).toBe(wrong);
});

test("finds a store over another value", () => {
  const trace = guest().record({
    type: 8,
    a: 4,
    x: LEAF,
    y: 0x20_0000 | USER,
    z: 0x99,
    w: DIRECT_MAP + LEAF,
  });
  expect(replayHere(trace).wrong).toEqual([
    "record 8, PTW of CPU 0: 4 bytes 0x200067 over 0x99 at 0x101000 through 0xc0101000: memory held 0x200067 before",
  ]);
});

test("explains a mismatch with both walks and the last stores", () => {
  const trace = guest();
  store(trace, 0, 0x27_0000 | USER).walk({ linear: LINEAR, physical: 0x20_0000, user: true });
  // Where the machine has put its frames does not matter here.
  const lines = replayHere(trace).explained.map((line) =>
    line
      .replaceAll(/mfn 0x[0-9a-f]+/g, "mfn …")
      .replaceAll(/0x[0-9a-f]+ (?=P)/g, "… ")
      .replaceAll(/ +/g, " "),
  );
  expect(lines).toMatchInlineSnapshot(`
    [
      "record 9, FILL of CPU 0: user read of 0x400000 at CPL 3 leads to 0x200000 with rights rwx: it ended in frame 0x270",
      " guest walk shadow walk",
      " L2 mfn …: … PWUAD L3 register: … P",
      " L1 mfn …: … PWUAD L2 mfn …: … PWUAD",
      " frame 0x270 L1 mfn …: … PWUA",
      " mfn …",
      " last store to the entry at 0x100004: record 6, PTPAGE of CPU 0: 0x100000 is a level 2 table",
      " last store to the entry at 0x101000: record 8, PTW of CPU 0: 4 bytes 0x270067 over 0x200067 at 0x101000 through 0xc0101000",
    ]
  `);
});
