/** What is done with a part of the shadow lock, and what takes the whole (docs/per-page-locks.md). */
import { beforeEach, describe, expect, test } from "vitest";
import { machineRequest, requestedMachine } from "../../src/engines/machine-settings.ts";
import { readLockStatistics } from "../../src/locks/lock-statistics.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { Cr0 } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import { DomctlAnswer } from "../../src/memory/domain-area.ts";
import { mfn } from "../../src/memory/units.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryOf } from "./guest-tables.ts";
import { TestMachine, high, low } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
/** The number of the hypercall by which a guest says that a process is dying. */
const DYING = 2;
const KERNEL_WINDOW = 0x2000_0000n;
/** Accessed and dirty: no walk has anything to add. */
const MARKS = 0x60n;

/** Times that the whole was taken. */
function wholes({ machine }: TestMachine): number {
  return readLockStatistics(machine.memory, machine.layout, LOCK_NAMES.indexOf("paging")).acquisitions;
}

/** Does something; how often it took the whole, and what of per-page locks. */
function taken(machine: TestMachine, act: () => unknown): Readonly<Record<string, number>> {
  const count = (): number[] => [
    wholes(machine),
    ...(["paging_parts", "table_locks", "frame_locks"] as const).map((name) => machine.count(name)),
  ];
  const before = count();
  act();
  const [whole, parts, tables, frames] = count().map((value, index) => value - (before[index] ?? 0));
  expect(machine.findings()).toEqual([]);
  return { whole: whole ?? 0, parts: parts ?? 0, tables: tables ?? 0, frames: frames ?? 0 };
}

describe.each(FORMATS)("with tables of %i levels", (levels) => {
  let machine: TestMachine;
  beforeEach(() => {
    machine = new TestMachine({
      levels,
      vcpus: 2,
      poolPages: 300,
      granularity: "page",
      switches: { prefetch: false },
    });
    const { tables, cpus } = machine;
    for (let page = 0n; page < 6n; page++)
      tables.map(ADDRESS + page * 4096n, PAGE + Number(page), USER_PAGE | MARKS);
    tables.map(KERNEL_WINDOW, tables.tableAt(ADDRESS, 1), KERNEL_PAGE | MARKS);
    for (const cpu of cpus) cpu.boot();
    // The table has its shadow from now on, and the window too.
    machine.cpu.read(ADDRESS + 5n * 4096n);
    machine.cpu.read(KERNEL_WINDOW);
  });

  test("a fault whose shadows are there takes a part, one table's lock and one frame's", () => {
    expect(taken(machine, () => machine.cpu.read(ADDRESS))).toEqual({
      whole: 0,
      parts: 1,
      tables: 1,
      frames: 1,
    });
  });

  test("the first fault below a table takes the whole, to make its shadow", () => {
    const { tables, cpu } = machine;
    tables.map(0x3000_0000n, PAGE, USER_PAGE | MARKS);
    const { whole, tables: locked } = taken(machine, () => cpu.read(0x3000_0000n));
    expect({ whole: whole ?? 0, locked }).toEqual({ whole: 1, locked: 0 });
  });

  test("so does one in a superpage, whose shadow has no table: its own lock does", () => {
    const { cpu } = machine;
    cpu.write(machine.direct(PAGE * 4096), 1n);
    const read = taken(machine, () => cpu.read(machine.direct((PAGE + 1) * 4096)));
    const write = taken(machine, () => cpu.write(machine.direct((PAGE + 2) * 4096), 2n));
    const inPart = { whole: 0, parts: 1, tables: 1, frames: 1 };
    expect({ read, write }).toEqual({ read: inPart, write: inPart });
  });

  test("a store to a level 1 table takes parts: one for its fault, one for itself", () => {
    const store = (): unknown =>
      machine.cpu.write(KERNEL_WINDOW + entryOffset(machine), entryOf(PAGE + 9, USER_PAGE | MARKS));
    machine.cpu.read(ADDRESS);
    const { whole, parts, tables } = taken(machine, store);
    expect({ whole, parts, tables }).toEqual({ whole: 0, parts: 2, tables: 2 });
    expect(machine.cpu.load(ADDRESS).status).toBe(Status.done);
  });

  test("the second zero in a row takes the whole, for it unshadows the table", () => {
    const zero = (page: bigint): unknown => machine.cpu.write(KERNEL_WINDOW + entryOffset(machine, page), 0n);
    expect(taken(machine, () => zero(0n))).toMatchObject({ whole: 0 });
    expect(taken(machine, () => zero(1n))["whole"]).toBeGreaterThan(0);
    expect(machine.count("early_unshadow")).toBe(1);
  });

  test("half of a wider entry is no zero that counts", () => {
    if (levels === 2) return;
    const half = (page: bigint): unknown =>
      machine.cpu.write(KERNEL_WINDOW + entryOffset(machine, page) + 4n, 0n);
    half(0n);
    expect(taken(machine, () => half(1n))).toMatchObject({ whole: 0 });
  });

  test("while writes are logged everything takes the whole", () => {
    expect(machine.toolstack.dirty.enable()).toBe(DomctlAnswer.done);
    machine.cpu.read(ADDRESS + 5n * 4096n);
    const { whole, tables, frames } = taken(machine, () => machine.cpu.read(ADDRESS));
    expect({ tables, frames }).toEqual({ tables: 0, frames: 0 });
    expect(whole).toBeGreaterThan(0);
  });

  test("what is counted in part is what a scan finds, and the domain leaves nothing behind", () => {
    for (let page = 0n; page < 6n; page++) machine.cpu.write(ADDRESS + page * 4096n, page);
    machine.cpu.write(KERNEL_WINDOW + entryOffset(machine), entryOf(PAGE + 3, USER_PAGE | MARKS));
    for (let page = 0n; page < 6n; page++) machine.cpu.read(ADDRESS + page * 4096n);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each(FORMATS)("a page that was the root of a dying process, %i levels", (levels) => {
  test.each(["domain", "page"] as const)(
    "is data, and is stored to with WP off, granularity %s",
    (granularity) => {
      const switches = { "pagetable-dying": true };
      const machine = new TestMachine({ levels, vcpus: 2, poolPages: 300, granularity, switches });
      const { cpu, tables } = machine;
      const other = machine.newTables();
      const page = levels === 3 ? other.tableAt(0xc000_0000n, 2) : other.root;
      tables.map(ADDRESS, page, Bit.p | Bit.a | Bit.d);
      tables.map(ADDRESS + 4096n, PAGE, KERNEL_PAGE);
      for (const each of machine.cpus) each.boot();
      cpu.cr3(other.cr3);
      cpu.vcpu.hypercall(DYING, low(other.cr3), high(other.cr3));
      cpu.cr3(tables.cr3);
      cpu.read(ADDRESS + 4096n);
      // The kernel takes the page for something else: its first stores take the shadows away, but not the mark.
      cpu.write(machine.direct(page * 4096), 0n);
      cpu.write(machine.direct(page * 4096 + 8), 0n);
      cpu.read(ADDRESS);
      cpu.cr0(Cr0.pg | Cr0.pe);
      cpu.read(ADDRESS + 4096n);
      cpu.write(ADDRESS + 64n, 5n);
      expect(machine.findings()).toEqual([]);
      expect(cpu.read(ADDRESS + 64n)).toBe(5n);
    },
  );
});

test("who takes the whole with a part in hand is told, and does not wait for itself", () => {
  const { cpu } = new TestMachine({ levels: 4, granularity: "page" });
  const { shadow, vcpu } = cpu.hosted;
  shadow.perPage.tryBegin(LockSite.test);
  shadow.lock.acquire(LockSite.remove_shadows);
  shadow.lock.release();
  shadow.perPage.end();
  expect(vcpu.findings.map(({ check }) => check)).toEqual(["lock-order"]);
});

/** Where the entry for a page of `ADDRESS` lies in its table. */
function entryOffset({ tables }: TestMachine, page = 0n): bigint {
  return BigInt(tables.entryAt(ADDRESS + page * 4096n, 1) % 4096);
}

test("a lock of a page that is given up and is not held, and one too many of a kind, are told", () => {
  const { cpu } = new TestMachine({ levels: 4, granularity: "page" });
  const { shadow, vcpu } = cpu.hosted;
  const { frameLock, tableLock } = shadow.perPage.locks;
  frameLock.release();
  tableLock.acquire(mfn(3), LockSite.test);
  tableLock.acquire(mfn(4), LockSite.test);
  expect(vcpu.findings.map(({ check }) => check)).toEqual(["lock-release", "lock-order"]);
});

test.each([
  [["granularity=page", "out-of-sync=on"], "without out-of-sync shadows: add --set out-of-sync=off"],
  [["granularity=page", "paging=hap"], "this machine is in hap mode"],
  [["granularity=line"], 'wants domain or page, got "line"'],
])("%s is refused", (set, says) => {
  expect(() => requestedMachine(machineRequest("talk", set).request, { vcpus: 1, ramPages: 64 })).toThrow(
    says,
  );
});
