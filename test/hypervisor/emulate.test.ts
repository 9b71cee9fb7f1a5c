/** Stores to pagetables, executed by the emulator: original and shadows in one hold of the lock (spec 4.9, 4.11, 5). */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { leafTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import { readLockStatistics } from "../../src/locks/lock-statistics.ts";
import { Cr0, Cr4 } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

/** Where the guest maps the table's pages, and where it sees the table and the page behind it. */
const ADDRESS = 0x1000_0000n;
const WINDOW = 0x2000_0000n;
const TABLE = 0x90;
const PAGE = 0x80;

function withTable(levels: GuestLevels, switches = {}): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, switches: { prefetch: false, ...switches } });
  const { tables } = machine;
  tables.link(ADDRESS, 2, TABLE);
  const bytes = entryBytes(levels);
  for (let index = 0; index < 4; index++)
    tables.write(TABLE * 4096 + index * bytes, entryOf(PAGE + index, USER_PAGE));
  tables.map(WINDOW, TABLE, KERNEL_PAGE);
  tables.map(WINDOW + 0x1000n, PAGE + 4, KERNEL_PAGE);
  tables.map(WINDOW - 0x1000n, PAGE + 5, KERNEL_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  for (let index = 0; index < 4; index++)
    machine.cpu.write(machine.direct((PAGE + index) * 4096), BigInt(0x100 + index));
  machine.cpu.read(ADDRESS);
  return machine;
}

/** Whether the page that a leaf table maps at an index is still shadowed as one. */
function isShadowed(machine: TestMachine): boolean {
  return machine.shadowOf(TABLE, leafTypeOf(machine.levels)) !== 0;
}

describe.each(FORMATS)("a store to a leaf table of a %i-level guest", (levels) => {
  const bytes = entryBytes(levels);

  test("changes the table and its shadow, and the guest's flush is all that is missing", () => {
    const machine = withTable(levels);
    const { cpu } = machine;
    expect(
      machine.countWhile("emulated_stores", () => cpu.write(WINDOW, entryOf(PAGE + 2, USER_PAGE), bytes)),
    ).toBe(1);
    expect(cpu.read(WINDOW, bytes)).toBe(entryOf(PAGE + 2, USER_PAGE));
    expect(cpu.read(ADDRESS)).toBe(0x100n);
    cpu.invlpg(ADDRESS);
    expect(machine.countWhile("demand_faults", () => expect(cpu.read(ADDRESS)).toBe(0x102n))).toBe(0);
    expect(isShadowed(machine)).toBe(true);
    expect(machine.finish()).toEqual([]);
  });

  test.each([1, 2, 4, 8])("of %i bytes stores them, and keeps the others", (size) => {
    const machine = withTable(levels);
    fc.assert(
      fc.property(fc.nat(63), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (place, value) => {
        machine.cpu.read(ADDRESS);
        const at = 2048 + place * size;
        const before = machine.tables.read(TABLE * 4096 + (at & -bytes));
        machine.cpu.write(WINDOW + BigInt(at), value, size);
        expect(machine.cpu.read(WINDOW + BigInt(at), size)).toBe(BigInt.asUintN(size * 8, value));
        const after = machine.tables.read(TABLE * 4096 + (at & -bytes));
        const shift = BigInt((at & (bytes - 1)) * 8);
        const mask = BigInt.asUintN(bytes * 8, BigInt.asUintN(size * 8, -1n) << shift);
        expect(after).toBe((before & ~mask) | BigInt.asUintN(bytes * 8, (value << shift) & mask));
        expect(machine.findings()).toEqual([]);
      }),
      { numRuns: 25 },
    );
    expect(machine.finish()).toEqual([]);
  });

  test("that is a compare-exchange stores when it should, and says what it found", () => {
    const machine = withTable(levels);
    const [old, next] = [entryOf(PAGE, USER_PAGE), entryOf(PAGE + 3, USER_PAGE)];
    const found = BigInt.asUintN(bytes * 8, old);
    expect(machine.cpu.exchange(WINDOW, old, next, bytes)).toMatchObject({ exchanged: true, value: found });
    machine.cpu.invlpg(ADDRESS);
    expect(machine.cpu.read(ADDRESS)).toBe(0x103n);
    expect(machine.cpu.exchange(WINDOW, old, old, bytes)).toMatchObject({ exchanged: false, value: next });
    expect(machine.cpu.read(ADDRESS)).toBe(0x103n);
    expect(machine.count("write_validated")).toBe(2);
    expect(machine.finish()).toEqual([]);
  });

  test.each([1, 2, 4, 8])(
    "that is a compare-exchange of %i bytes at an odd address works, and unshadows",
    (size) => {
      const machine = withTable(levels);
      const address = WINDOW + 2049n;
      const wide = BigInt.asUintN(size * 8, 0x1122_3344_5566_7788n);
      expect(machine.cpu.exchange(address, 0n, wide, size)).toMatchObject({ exchanged: true, value: 0n });
      expect(machine.cpu.exchange(address, 0n, 1n, size)).toMatchObject({ exchanged: false, value: wide });
      expect(machine.cpu.read(address, size)).toBe(wide);
      expect(isShadowed(machine)).toBe(size === 1);
      expect(machine.finish()).toEqual([]);
    },
  );

  test("never makes a shadow, and never gives the right to write to a pagetable", () => {
    const machine = withTable(levels);
    machine.cpu.read(WINDOW);
    machine.cpu.read(machine.direct(0));
    const made = machine.countWhile("make_shadow", () => {
      machine.cpu.write(WINDOW, entryOf(TABLE, KERNEL_PAGE), bytes);
      machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS + (1n << 23n), 2), entryOf(PAGE + 8, USER_PAGE));
    });
    expect(made).toBe(0);
    machine.cpu.invlpg(ADDRESS);
    expect(machine.countWhile("emulated_stores", () => machine.cpu.write(ADDRESS + 8n, 0n))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("is seen by other vCPUs once they flush, in every shadow of the page", () => {
    const machine = withTable(levels);
    const other = machine.cpuAt(1);
    expect(other.read(ADDRESS)).toBe(0x100n);
    machine.cpu.write(WINDOW, entryOf(PAGE + 1, USER_PAGE), bytes);
    other.cr3(machine.tables.cr3);
    expect(machine.countWhile("demand_faults", () => expect(other.read(ADDRESS)).toBe(0x101n))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("that takes a right away from an upper entry has everybody flushed", () => {
    const machine = withTable(levels);
    const other = machine.cpuAt(1);
    other.read(ADDRESS);
    machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS, 2), entryOf(TABLE, USER_PAGE & ~Bit.w));
    expect(machine.countWhile("tlb_hits", () => other.read(ADDRESS))).toBe(0);
    expect(other.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
    expect(machine.finish()).toEqual([]);
  });

  test("is one hold of the lock, shadows and all", () => {
    const machine = withTable(levels);
    const { memory, layout } = machine.machine;
    const paging = LOCK_NAMES.indexOf("paging");
    const before = readLockStatistics(memory, layout, paging).acquisitions;
    machine.cpu.write(WINDOW, 0n, bytes);
    expect(readLockStatistics(memory, layout, paging).acquisitions - before).toBe(1);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each(FORMATS)("a store that crosses pages in a %i-level guest", (levels) => {
  const bytes = entryBytes(levels);
  const value = 0x1122_3344_5566_7788n;

  test.each([
    { from: "the table into a page", address: WINDOW + 0xffcn },
    { from: "a page into the table", address: WINDOW - 4n },
  ])("from $from goes to both", ({ address }) => {
    const machine = withTable(levels);
    machine.cpu.write(address, value, 8);
    expect(machine.cpu.read(address, 8)).toBe(value);
    expect(isShadowed(machine)).toBe(false);
    expect(machine.finish()).toEqual([]);
  });

  test("of two tables unshadows both", () => {
    const machine = withTable(levels);
    const { tables, cpu } = machine;
    cpu.writeEntry(tables.entryAt(WINDOW + 0x1000n, 1), entryOf(PAGE + 6, KERNEL_PAGE));
    cpu.writeEntry(tables.entryAt(ADDRESS + (1n << 23n), 2), entryOf(PAGE + 6, USER_PAGE));
    cpu.write(machine.direct((PAGE + 6) * 4096), entryOf(PAGE, USER_PAGE), bytes);
    cpu.read(ADDRESS + (1n << 23n));
    cpu.write(WINDOW + 0xffdn, value, 8);
    expect(cpu.read(WINDOW + 0xffdn, 8)).toBe(value);
    expect([isShadowed(machine), machine.shadowOf(PAGE + 6, leafTypeOf(levels))]).toEqual([false, 0]);
    expect(machine.finish()).toEqual([]);
  });

  test("into one that is not there faults with that page's address, and stores nothing", () => {
    const machine = withTable(levels);
    machine.cpu.writeEntry(machine.tables.entryAt(WINDOW + 0x1000n, 1), 0n);
    machine.cpu.invlpg(WINDOW + 0x1000n);
    const before = machine.cpu.read(WINDOW + 0xffcn, 4);
    expect(machine.cpu.store(WINDOW + 0xffcn, value, 8)).toMatchObject({
      status: Status.pageFault,
      errorCode: 2,
      cr2: WINDOW + 0x1000n,
    });
    expect(machine.cpu.read(WINDOW + 0xffcn, 4)).toBe(before);
    expect(isShadowed(machine)).toBe(true);
    expect(machine.finish()).toEqual([]);
  });

  test("as a compare-exchange compares and stores all its bytes", () => {
    const machine = withTable(levels);
    const address = WINDOW + 0xffdn;
    expect(machine.cpu.exchange(address, 0n, value, 8)).toMatchObject({ exchanged: true });
    expect(machine.cpu.exchange(address, value ^ (1n << 60n), 0n, 8)).toMatchObject({
      exchanged: false,
      value,
    });
    expect(machine.cpu.read(address, 8)).toBe(value);
    expect(machine.finish()).toEqual([]);
  });
});

/** Writes zeros into the table and says after how many of them it was given up; 0 for never. */
function zerosUntilGone(machine: TestMachine, sizes: readonly number[], step: number): number {
  for (const [index, size] of sizes.entries()) {
    machine.cpu.write(WINDOW + BigInt(2048 + index * step), 0n, size);
    if (!isShadowed(machine)) return index + 1;
  }
  return 0;
}

describe("early unshadow", () => {
  test.each([
    { levels: 2, size: 4, step: 4, zeros: 2 },
    { levels: 2, size: 8, step: 8, zeros: 2 },
    { levels: 3, size: 8, step: 8, zeros: 2 },
    { levels: 4, size: 8, step: 8, zeros: 2 },
    // A PAE entry cleared by two stores is one zero, and so is one of 64 bits.
    { levels: 3, size: 4, step: 4, zeros: 3 },
    { levels: 4, size: 4, step: 4, zeros: 3 },
    // Bytes and half words say nothing.
    { levels: 2, size: 2, step: 2, zeros: 0 },
    { levels: 4, size: 1, step: 1, zeros: 0 },
  ] as const)(
    "of a $levels-level table takes $zeros zeros of $size bytes",
    ({ levels, size, step, zeros }) => {
      const machine = withTable(levels);
      expect(zerosUntilGone(machine, Array<number>(6).fill(size), step)).toBe(zeros);
      expect(machine.finish()).toEqual([]);
    },
  );

  test.each([
    { what: "a fault", act: (machine: TestMachine) => machine.cpu.load(0x7000_0000n) },
    { what: "another value", act: (machine: TestMachine) => machine.cpu.write(WINDOW + 3072n, 5n) },
    { what: "a byte", act: (machine: TestMachine) => machine.cpu.write(WINDOW + 3072n, 0n, 1) },
    {
      what: "a zero elsewhere",
      act: (machine: TestMachine) => machine.cpu.writeEntry(machine.tables.entryAt(0x3000_0000n, 1), 0n),
    },
    { what: "a demand fault", act: (machine: TestMachine) => machine.cpu.read(ADDRESS + 0x1000n) },
  ])("starts anew after $what", ({ act }) => {
    const machine = withTable(4);
    const { cpu } = machine;
    machine.tables.entryAt(0x3000_0000n, 1);
    cpu.write(WINDOW + 2048n, 0n, 8);
    act(machine);
    cpu.write(WINDOW + 2056n, 0n, 8);
    expect(isShadowed(machine)).toBe(true);
    cpu.write(WINDOW + 2064n, 0n, 8);
    expect(isShadowed(machine)).toBe(false);
    expect(machine.finish()).toEqual([]);
  });

  test("is neither done nor begun anew by a zero beside an entry", () => {
    const machine = withTable(4);
    machine.cpu.write(WINDOW + 2048n, 0n, 8);
    machine.cpu.write(WINDOW + 2060n, 0n, 4);
    expect(isShadowed(machine)).toBe(true);
    machine.cpu.write(WINDOW + 2056n, 0n, 8);
    expect([isShadowed(machine), machine.count("early_unshadow")]).toEqual([false, 1]);
    expect(machine.finish()).toEqual([]);
  });

  test("looks at what memory holds after a compare-exchange that failed", () => {
    const machine = withTable(4);
    machine.cpu.exchange(WINDOW + 2048n, 7n, 9n, 8);
    machine.cpu.exchange(WINDOW + 2056n, 7n, 9n, 8);
    expect([isShadowed(machine), machine.count("early_unshadow")]).toEqual([false, 1]);
    expect(machine.finish()).toEqual([]);
  });

  test("does not happen when it is switched off", () => {
    const machine = withTable(4, { "early-unshadow": false });
    expect(zerosUntilGone(machine, [8, 8, 8, 8], 8)).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each(FORMATS)("with CR0.WP clear a supervisor of a %i-level guest", (levels) => {
  function withReadOnlyPage(flags: bigint): TestMachine {
    const machine = new TestMachine({ levels });
    machine.tables.map(ADDRESS, PAGE, flags);
    machine.tables.map(ADDRESS + 0x1000n, PAGE + 1, flags);
    machine.cpu.boot();
    machine.cpu.cr0(machine.cpu.register(VcpuCell.cr0) & ~Cr0.wp);
    return machine;
  }

  test("writes to read-only pages by the emulator, and their entries get D", () => {
    const machine = withReadOnlyPage(Bit.p);
    machine.cpu.write(ADDRESS + 4094n, 0x1234_5678n);
    machine.cpu.write(ADDRESS + 8n, 5n);
    expect(machine.cpu.read(ADDRESS + 4094n)).toBe(0x1234_5678n);
    expect(machine.count("fault_emulate_wp")).toBe(2);
    expect(machine.tables.read(machine.tables.entryAt(ADDRESS, 1))).toBe(
      entryOf(PAGE, Bit.p | Bit.a | Bit.d),
    );
    expect(machine.finish()).toEqual([]);
  });

  test("is refused again once it is set", () => {
    const machine = withReadOnlyPage(Bit.p | Bit.a | Bit.d);
    machine.cpu.write(ADDRESS, 5n);
    machine.cpu.cr0(machine.cpu.register(VcpuCell.cr0) | Cr0.wp);
    expect(machine.cpu.store(ADDRESS, 6n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
    expect(machine.finish()).toEqual([]);
  });

  test("still lets user mode write nowhere", () => {
    const machine = withReadOnlyPage(Bit.p | Bit.u | Bit.a | Bit.d);
    machine.cpu.enterUserMode();
    expect(machine.cpu.store(ADDRESS, 6n)).toMatchObject({ status: Status.pageFault, errorCode: 7 });
    expect(machine.finish()).toEqual([]);
  });

  test("writes to a read-only pagetable", () => {
    const machine = withTable(levels);
    machine.cpu.writeEntry(machine.tables.entryAt(WINDOW, 1), entryOf(TABLE, KERNEL_PAGE & ~Bit.w));
    machine.cpu.invlpg(WINDOW);
    expect(machine.cpu.store(WINDOW, 0n).status).toBe(Status.pageFault);
    machine.cpu.cr0(machine.cpu.register(VcpuCell.cr0) & ~Cr0.wp);
    machine.cpu.write(WINDOW, entryOf(PAGE + 2, USER_PAGE), entryBytes(levels));
    machine.cpu.invlpg(ADDRESS);
    expect(machine.cpu.read(ADDRESS)).toBe(0x102n);
    expect(machine.finish()).toEqual([]);
  });
});

test.each(FORMATS)(
  "an implicit supervisor store to a table heeds SMAP in both pages (%i levels)",
  (levels) => {
    const machine = withTable(levels);
    const { cpu, tables } = machine;
    cpu.writeEntry(tables.entryAt(WINDOW + 0x1000n, 1), entryOf(PAGE + 4, USER_PAGE));
    cpu.invlpg(WINDOW + 0x1000n);
    cpu.cr4(cpu.register(VcpuCell.cr4) | Cr4.smap);
    cpu.vcpu.setPrivilege(3, true, true);
    expect(cpu.store(WINDOW + 0xffcn, 0n, 8)).toMatchObject({
      status: Status.pageFault,
      cr2: WINDOW + 0x1000n,
      errorCode: 3,
    });
    cpu.enterKernelMode(true);
    cpu.write(WINDOW + 0xffcn, 0n, 8);
    expect(machine.finish()).toEqual([]);
  },
);
