/** Out-of-sync shadows: the table of events of spec 7.7, row by row, and what goes before it (spec 7.3 to 7.6). */
import { describe, expect, test } from "vitest";
import { shadowLeaf } from "../../src/hypervisor/shadow/shadow-leaf.ts";
import { ShadowType, leafTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { Cr0, Cr4 } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { MAY_WRITE, OUT_OF_SYNC, SHADOWED } from "../../src/memory/frame-table.ts";
import { mfn } from "../../src/memory/units.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine, high, low } from "./test-machine.ts";
import type { Setup, TestCpu } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
/** Elsewhere in the address space: another leaf table, and with four levels another of level 2. */
const AFAR = 0x7000_0000n;

/** A guest whose leaf table of `ADDRESS` has two pages, read by all vCPUs, and one absent entry. */
function withTable(levels: GuestLevels, setup: Partial<Setup> = {}): TestMachine {
  const { switches, ...rest } = setup;
  const machine = new TestMachine({
    levels,
    vcpus: 2,
    switches: { "out-of-sync": true, prefetch: false, ...switches },
    ...rest,
  });
  for (let page = 0; page < 2; page++)
    machine.tables.map(ADDRESS + BigInt(page) * 0x1000n, PAGE + page, USER_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  for (const cpu of machine.cpus) for (let page = 0; page < 2; page++) cpu.read(at(page));
  return machine;
}

function at(page: number): bigint {
  return ADDRESS + BigInt(page) * 0x1000n;
}

/** The same with the table out of sync by vCPU 0, and the first page's entry changed since. */
function withStaleEntry(levels: GuestLevels, setup: Partial<Setup> = {}): TestMachine {
  const machine = withTable(levels, setup);
  write(machine, 0, PAGE + 8);
  expect(isOutOfSync(machine)).toBe(true);
  expect(frameAt(machine.cpu, at(0))).toBe(machine.frame(PAGE));
  return machine;
}

/** Lets vCPU 0 write the entry of a page. */
function write(machine: TestMachine, page: number, gfn: number, flags = USER_PAGE): void {
  machine.cpu.writeEntry(machine.tables.entryAt(at(page), 1), entryOf(gfn, flags));
}

function tableFrame(machine: TestMachine, address = ADDRESS, level = 1): number {
  return machine.frame(machine.tables.tableAt(address, level));
}

/** Whether the leaf table of an address is out of sync; every flag and slot agrees, or the audit says so. */
function isOutOfSync(machine: TestMachine, address = ADDRESS): boolean {
  expect(machine.findings()).toEqual([]);
  const flags = machine.shadow.frames.shadowFlags(mfn(tableFrame(machine, address)));
  return (flags & (OUT_OF_SYNC | MAY_WRITE)) !== 0;
}

/** The frame that the shadow leaf of an address maps in a vCPU's tree; 0 when it maps none. */
function frameAt(cpu: TestCpu, address: bigint): number {
  const { leaf } = shadowLeaf(cpu.hosted.shadow, low(address), high(address)) ?? {};
  return leaf === undefined || (leaf.low & 1) === 0 ? 0 : (leaf.low >>> 12) | (leaf.high << 20);
}

function counts(machine: TestMachine): { resync: number; only: number } {
  return { resync: machine.count("resync"), only: machine.count("resync_only") };
}

describe.each(FORMATS)("events, with %i levels", (levels) => {
  test("MOV CR3: own pages are resynced", () => {
    const machine = withStaleEntry(levels);
    machine.cpu.cr3(machine.tables.cr3);
    expect(isOutOfSync(machine)).toBe(false);
    expect(frameAt(machine.cpu, at(0))).toBe(machine.frame(PAGE + 8));
    expect(counts(machine)).toEqual({ resync: 1, only: 0 });
    expect(machine.finish()).toEqual([]);
  });

  test("MOV CR3: others' pages are brought up to date and stay out of sync", () => {
    const machine = withStaleEntry(levels);
    machine.cpuAt(1).cr3(machine.tables.cr3);
    expect(isOutOfSync(machine)).toBe(true);
    expect(frameAt(machine.cpuAt(1), at(0))).toBe(machine.frame(PAGE + 8));
    expect(counts(machine)).toEqual({ resync: 0, only: 1 });
    expect(machine.finish()).toEqual([]);
  });

  test("MOV CR3: what provably lies outside the new tree is left, but with 2 levels it never is", () => {
    const machine = withTable(levels, { switches: { "linux-l3-toplevel": false } });
    const other = machine.newTables();
    machine.cpuAt(1).cr3(other.cr3);
    write(machine, 0, PAGE + 8);
    machine.cpuAt(1).cr3(other.cr3);
    expect(counts(machine)).toEqual({ resync: 0, only: levels === 2 ? 1 : 0 });
    expect(frameAt(machine.cpu, at(0))).toBe(machine.frame(levels === 2 ? PAGE + 8 : PAGE));
    // With the table in the tree it is brought up to date.
    machine.cpuAt(1).cr3(machine.tables.cr3);
    expect(frameAt(machine.cpuAt(1), at(0))).toBe(machine.frame(PAGE + 8));
    expect(machine.finish()).toEqual([]);
  });

  test("mode change: everything is resynced", () => {
    const machine = withStaleEntry(levels);
    machine.cpuAt(1).cr4(machine.cpuAt(1).register(21) ^ Cr4.pge);
    expect(isOutOfSync(machine)).toBe(false);
    expect(frameAt(machine.cpu, at(0))).toBe(machine.frame(PAGE + 8));
    expect(machine.finish()).toEqual([]);
  });

  test("mode change: while a vCPU has paging off nothing goes out of sync", () => {
    const machine = withStaleEntry(levels);
    machine.cpuAt(1).cr0(Cr0.pe);
    expect(isOutOfSync(machine)).toBe(false);
    write(machine, 0, PAGE + 9);
    expect(isOutOfSync(machine)).toBe(false);
    machine.cpuAt(1).boot();
    write(machine, 0, PAGE + 10);
    expect(isOutOfSync(machine)).toBe(true);
    expect(machine.finish()).toEqual([]);
  });

  test("INVLPG: the one shadow entry goes", () => {
    const machine = withStaleEntry(levels);
    write(machine, 1, PAGE + 9);
    machine.cpuAt(1).invlpg(at(0));
    expect(isOutOfSync(machine)).toBe(true);
    expect([frameAt(machine.cpu, at(0)), frameAt(machine.cpu, at(1))]).toEqual([0, machine.frame(PAGE + 1)]);
    expect(machine.countWhile("fault_fixed", () => machine.cpuAt(1).read(at(0)))).toBe(1);
    expect(frameAt(machine.cpuAt(1), at(0))).toBe(machine.frame(PAGE + 8));
    expect(counts(machine)).toEqual({ resync: 0, only: 0 });
    expect(machine.finish()).toEqual([]);
  });

  test("a level 2 entry is set to an out-of-sync table: that table is resynced", () => {
    const machine = withStaleEntry(levels);
    machine.tables.map(AFAR, PAGE + 1, USER_PAGE);
    machine.cpu.read(AFAR);
    write(machine, 0, PAGE + 9);
    const resyncs = machine.count("resync");
    machine.cpu.writeEntry(
      machine.tables.entryAt(AFAR, 2),
      entryOf(machine.tables.tableAt(ADDRESS, 1), USER_PAGE),
    );
    expect(machine.count("resync") - resyncs).toBe(1);
    expect(machine.shadow.frames.shadowFlags(mfn(tableFrame(machine))) & OUT_OF_SYNC).toBe(0);
    expect(frameAt(machine.cpu, AFAR)).toBe(machine.frame(PAGE + 9));
    expect(machine.finish()).toEqual([]);
  });

  test("promotion: the page is resynced before it gets another shadow", () => {
    const machine = withStaleEntry(levels);
    const table = mfn(tableFrame(machine));
    const type = levels === 4 ? ShadowType.l1_pae : ShadowType.l1_64;
    machine.locked(({ pool, destruction, frames }) => {
      pool.prealloc(type, 1);
      const second = destruction.make(table, type);
      expect(frames.shadowFlags(table)).toBe(SHADOWED | (1 << type) | (1 << leafTypeOf(levels)));
      destruction.destroy(second);
    });
    expect(isOutOfSync(machine)).toBe(false);
    expect(frameAt(machine.cpu, at(0))).toBe(machine.frame(PAGE + 8));
    expect(machine.finish()).toEqual([]);
  });

  test("the last shadow dies: the page leaves its slot, and nothing is resynced", () => {
    const machine = withStaleEntry(levels);
    const table = mfn(tableFrame(machine));
    machine.locked(({ unshadow }) => {
      unshadow.removeShadows(table, false, true);
    });
    expect(isOutOfSync(machine)).toBe(false);
    expect(machine.shadow.frames.shadowFlags(table)).toBe(0);
    expect(counts(machine)).toEqual({ resync: 0, only: 0 });
    expect(machine.cpuAt(1).load(at(0)).status).toBe(Status.done);
    expect(machine.finish()).toEqual([]);
  });

  test("a fault through an out-of-sync table makes its own entry anew, and no other", () => {
    const machine = withStaleEntry(levels);
    write(machine, 1, PAGE + 9);
    write(machine, 2, PAGE + 10);
    machine.cpu.read(at(2));
    expect(isOutOfSync(machine)).toBe(true);
    expect([0, 1, 2].map((page) => frameAt(machine.cpu, at(page)))).toEqual(
      [PAGE, PAGE + 1, PAGE + 10].map((gfn) => machine.frame(gfn)),
    );
    // Its snapshot too: what the entry is changed to now is seen as a change.
    write(machine, 2, PAGE + 11);
    machine.cpu.cr3(machine.tables.cr3);
    expect(frameAt(machine.cpu, at(2))).toBe(machine.frame(PAGE + 11));
    expect(machine.finish()).toEqual([]);
  });

  test("a fault prefetches through an out-of-sync table, snapshots included", () => {
    const machine = withStaleEntry(levels, { switches: { prefetch: true } });
    for (let page = 2; page < 5; page++) write(machine, page, PAGE + 10 + page);
    machine.cpu.read(at(2));
    expect(frameAt(machine.cpu, at(4))).toBe(machine.frame(PAGE + 14));
    expect(isOutOfSync(machine)).toBe(true);
    write(machine, 4, PAGE + 20);
    machine.cpuAt(1).cr3(machine.tables.cr3);
    expect(frameAt(machine.cpu, at(4))).toBe(machine.frame(PAGE + 20));
    expect(machine.finish()).toEqual([]);
  });

  test("slots: the third page of one home evicts the first, whose snapshot moved with it", () => {
    const machine = withTable(levels);
    const region = BigInt(entryBytes(levels) === 4 ? 0x40_0000 : 0x20_0000);
    const addresses = Array.from({ length: 12 }, (_, index) => AFAR + BigInt(index) * region);
    for (const address of addresses) machine.tables.map(address, PAGE, KERNEL_PAGE);
    const sameHome = addresses
      .filter((address) => tableFrame(machine, address) % 3 === tableFrame(machine, AFAR) % 3)
      .slice(0, 3);
    expect(sameHome).toHaveLength(3);
    for (const address of sameHome) machine.cpu.read(address);
    const { slots } = machine.shadow.outOfSync;
    const slotsOf = (): number[] =>
      sameHome.map((address) => slots.slotOf(mfn(tableFrame(machine, address))));
    const home = slots.home(0, mfn(tableFrame(machine, AFAR)));
    const next = slots.alternate(0, mfn(tableFrame(machine, AFAR)));
    const places: number[][] = [];
    for (const address of sameHome) {
      machine.cpu.writeEntry(machine.tables.entryAt(address, 1), entryOf(PAGE + 8, KERNEL_PAGE));
      places.push(slotsOf());
      expect(isOutOfSync(machine, address)).toBe(true);
    }
    expect(places).toEqual([
      [home, -1, -1],
      [next, home, -1],
      [-1, next, home],
    ]);
    expect(machine.count("unsync_evict")).toBe(1);
    expect(sameHome.map((address) => frameAt(machine.cpu, address))).toEqual(
      [PAGE + 8, PAGE, PAGE].map((gfn) => machine.frame(gfn)),
    );
    machine.cpu.cr3(machine.tables.cr3);
    expect(sameHome.map((address) => frameAt(machine.cpu, address))).toEqual(
      [PAGE + 8, PAGE + 8, PAGE + 8].map((gfn) => machine.frame(gfn)),
    );
    expect(machine.finish()).toEqual([]);
  });

  test("fixups: a third writable mapping takes the place of the first", () => {
    const machine = withTable(levels);
    const windows = [AFAR, AFAR + 0x1000n, AFAR + 0x2000n];
    for (const window of windows) machine.tables.map(window, machine.tables.tableAt(ADDRESS, 1), KERNEL_PAGE);
    for (const window of windows) machine.cpu.write(window + 0xf00n, 0n);
    expect(machine.count("unsync")).toBe(1);
    expect([machine.count("oos_fixup_add"), machine.count("oos_fixup_evict")]).toEqual([3, 1]);
    const isWritable = windows.map((window) => {
      const found = shadowLeaf(machine.shadow, low(window), high(window));
      return found !== undefined && (found.leaf.low & 2) !== 0;
    });
    expect(isWritable).toEqual([false, true, true]);
    // Its TLB entry is used on, until the resync flushes.
    expect(machine.countWhile("fault", () => machine.cpu.write(AFAR + 0xf08n, 0n))).toBe(0);
    machine.cpuAt(1).cr4(machine.cpuAt(1).register(21) ^ Cr4.pge);
    expect(machine.countWhile("fault", () => machine.cpu.write(AFAR + 0xf08n, 0n))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("a store from user mode ends it: no kernel writes its tables so", () => {
    const machine = withTable(levels);
    machine.tables.map(AFAR, machine.tables.tableAt(ADDRESS, 1), USER_PAGE);
    machine.cpu.enterUserMode();
    machine.cpu.write(AFAR + 0xf00n, 0n);
    expect(isOutOfSync(machine)).toBe(false);
    expect(machine.shadow.frames.shadowFlags(mfn(tableFrame(machine)))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("the policy counts stores, and anew after a fault through the table", () => {
    const machine = withTable(levels, { outOfSyncAfter: 3 });
    const demandPaging = (page: number): void => {
      expect(machine.cpu.load(at(page)).status).toBe(Status.pageFault);
      write(machine, page, PAGE + page);
      machine.cpu.read(at(page));
    };
    for (let page = 8; page < 16; page++) demandPaging(page);
    expect([isOutOfSync(machine), machine.count("unsync")]).toEqual([false, 0]);
    // The last of those is the first of the next row.
    write(machine, 16, PAGE + 16);
    expect(isOutOfSync(machine)).toBe(false);
    write(machine, 17, PAGE + 17);
    expect(isOutOfSync(machine)).toBe(true);
    expect(machine.countWhile("emulated_stores", () => write(machine, 19, PAGE + 19))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("a device's store to an out-of-sync table is seen at once", () => {
    const machine = withStaleEntry(levels);
    const entry = machine.tables.entryAt(at(1), 1);
    machine.cpu.hosted.paging.deviceWrite(entry, Number((BigInt(PAGE + 9) << 12n) | USER_PAGE));
    expect([0, machine.frame(PAGE + 9)]).toContain(frameAt(machine.cpu, at(1)));
    expect(isOutOfSync(machine)).toBe(frameAt(machine.cpu, at(1)) !== 0);
    expect(machine.finish()).toEqual([]);
  });

  test("a device behind an out-of-sync table is not taken from its magic entry", () => {
    const machine = withTable(levels);
    write(machine, 3, 0x5000);
    machine.cpu.cr3(machine.tables.cr3);
    machine.cpu.load(at(3));
    expect(machine.countWhile("fault_fast_mmio", () => machine.cpu.load(at(3)))).toBe(1);
    write(machine, 0, PAGE + 8);
    write(machine, 3, PAGE + 9);
    expect(machine.countWhile("fault_fast_mmio", () => machine.cpu.load(at(3)))).toBe(0);
    expect(frameAt(machine.cpu, at(3))).toBe(machine.frame(PAGE + 9));
    expect(machine.finish()).toEqual([]);
  });

  test("not-present entries are never told from magic", () => {
    const machine = withTable(levels);
    machine.cpu.load(at(5));
    expect(machine.countWhile("fault_fast_gnp", () => machine.cpu.load(at(5)))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

describe("events of upper tables, with 4 levels", () => {
  test("a walk meets an out-of-sync table above the leaf: it is resynced, and the walk made again", () => {
    const machine = withStaleEntry(4);
    const table = machine.tables.tableAt(ADDRESS, 1);
    // What `ADDRESS` maps is a leaf table when its own table is one of level 2.
    machine.tables.write((PAGE + 8) * 4096, entryOf(PAGE + 2, USER_PAGE));
    machine.tables.write(machine.tables.entryAt(AFAR, 3), entryOf(table, USER_PAGE));
    const before = machine.count("guest_walk");
    expect(machine.cpu.load(0x4000_0000n).status).toBe(Status.done);
    expect(machine.count("guest_walk") - before).toBeGreaterThan(1);
    expect(isOutOfSync(machine)).toBe(false);
    expect(frameAt(machine.cpu, 0x4000_0000n)).toBe(machine.frame(PAGE + 2));
    expect(machine.finish()).toEqual([]);
  });

  test("a fault links new tables of level 2: everything is resynced when the chain is complete", () => {
    const machine = new TestMachine({
      levels: 4,
      vcpus: 2,
      switches: { "out-of-sync": true, prefetch: false },
    });
    machine.tables.map(ADDRESS, PAGE, USER_PAGE);
    machine.tables.map(AFAR, PAGE + 1, USER_PAGE);
    for (const cpu of machine.cpus) cpu.boot();
    machine.cpu.read(ADDRESS);
    write(machine, 0, PAGE + 8);
    expect(isOutOfSync(machine)).toBe(true);
    machine.cpuAt(1).read(AFAR);
    expect(isOutOfSync(machine)).toBe(false);
    expect(frameAt(machine.cpu, ADDRESS)).toBe(machine.frame(PAGE + 8));
    expect(machine.finish()).toEqual([]);
  });

  test("a store links a table of level 2 that is shadowed: everything is resynced before", () => {
    const machine = withStaleEntry(4);
    const resyncs = machine.count("resync");
    machine
      .cpuAt(1)
      .writeEntry(machine.tables.entryAt(AFAR, 3), entryOf(machine.tables.tableAt(ADDRESS, 2), USER_PAGE));
    expect(machine.count("resync") - resyncs).toBe(1);
    expect(frameAt(machine.cpu, at(0))).toBe(machine.frame(PAGE + 8));
    expect(isOutOfSync(machine)).toBe(false);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each([2, 3] as const)("with %i levels", (levels) => {
  test("an out-of-sync table becomes a root: it is resynced before any root loses its writers", () => {
    const machine = withStaleEntry(levels);
    const table = machine.tables.tableAt(ADDRESS, 1);
    const entries = Number(machine.tables.cr3 >> 12n);
    let cr3 = BigInt(table) << 12n;
    if (levels === 3) {
      cr3 = machine.tables.cr3;
      machine.tables.write(entries * 4096 + 8, entryOf(table, Bit.p));
    }
    machine.cpuAt(1).cr3(cr3);
    expect(isOutOfSync(machine)).toBe(false);
    expect(machine.findings()).toEqual([]);
  });

  test("a fault that links a leaf table resyncs nothing else", () => {
    const machine = withStaleEntry(levels);
    machine.tables.map(AFAR, PAGE + 1, USER_PAGE);
    machine.cpu.read(AFAR);
    expect(isOutOfSync(machine)).toBe(true);
    expect(counts(machine)).toEqual({ resync: 0, only: 0 });
    expect(machine.finish()).toEqual([]);
  });
});

test("tables above level 1, and with two kinds of shadow, never go out of sync", () => {
  for (const levels of FORMATS) {
    const machine = withTable(levels);
    machine.cpu.writeEntry(machine.tables.entryAt(AFAR, 2), 0n);
    expect(machine.count("unsync")).toBe(0);
    expect(machine.finish()).toEqual([]);
  }
});
