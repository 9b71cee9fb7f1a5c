/** Large pages: splintered into 4 KiB leaves that all entries for the same memory share (spec 1.5, 4.7, 4.8). */
import { describe, expect, test } from "vitest";
import { fakeLeafTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { registerValue } from "../../src/hypervisor/device.ts";
import { Cr4 } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryOf, largePages } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const FIRST = 0x1000_0000n;
const SECOND = 0x1080_0000n;
const PAGE = 0x85;
const OFFSET = BigInt(PAGE * 4096);

function withLargePages(levels: GuestLevels, first: bigint, second: bigint): TestMachine {
  const machine = new TestMachine({ levels });
  machine.tables.mapLarge(FIRST, 0, first);
  machine.tables.mapLarge(SECOND, 0, second);
  machine.cpu.boot();
  return machine;
}

function fakeLeaf(machine: TestMachine, gfn = 0): Mfn {
  return machine.locked(({ hash }) => hash.lookup(gfn, fakeLeafTypeOf(machine.levels)));
}

describe.each(FORMATS)("a large page of a %i-level guest", (levels) => {
  test("shares its shadow with every entry that maps the same memory, and each keeps its own rights", () => {
    const machine = withLargePages(levels, USER_PAGE & ~Bit.w, KERNEL_PAGE);
    const { cpu } = machine;
    cpu.read(FIRST + OFFSET);
    cpu.write(SECOND + OFFSET, 5n);
    cpu.read(machine.direct(PAGE * 4096));
    expect(machine.shadow.frames.count(fakeLeaf(machine))).toBe(3);
    expect(cpu.store(FIRST + OFFSET, 6n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
    cpu.enterUserMode();
    expect(cpu.read(FIRST + OFFSET)).toBe(5n);
    expect(cpu.load(SECOND + OFFSET)).toMatchObject({ status: Status.pageFault, errorCode: 5 });
    expect(machine.finish()).toEqual([]);
  });

  test("that is clean is not writable until it is written to, and has D then", () => {
    const machine = withLargePages(levels, KERNEL_PAGE & ~Bit.d, KERNEL_PAGE & ~(Bit.d | Bit.a));
    const { cpu, tables } = machine;
    const at = tables.entryAt(FIRST, 2);
    cpu.read(FIRST + OFFSET);
    expect(tables.read(at) & (Bit.a | Bit.d)).toBe(Bit.a);
    const faults = machine.countWhile("demand_faults", () => cpu.write(FIRST + OFFSET, 7n));
    expect([faults, tables.read(at) & (Bit.a | Bit.d)]).toEqual([1, Bit.a | Bit.d]);
    cpu.read(SECOND + OFFSET);
    expect(tables.read(tables.entryAt(SECOND, 2)) & (Bit.a | Bit.d)).toBe(Bit.a);
    expect(cpu.read(SECOND + OFFSET)).toBe(7n);
    expect(machine.finish()).toEqual([]);
  });

  test("whose entry the guest cleans grants no write any more, and gets D anew", () => {
    const machine = withLargePages(levels, KERNEL_PAGE, KERNEL_PAGE);
    const { cpu, tables } = machine;
    const at = tables.entryAt(FIRST, 2);
    cpu.write(FIRST + OFFSET, 7n);
    cpu.writeEntry(at, entryOf(0, (KERNEL_PAGE | Bit.ps) & ~Bit.d));
    cpu.invlpg(FIRST + OFFSET);
    cpu.read(FIRST + OFFSET);
    expect(tables.read(at) & Bit.d).toBe(0n);
    cpu.write(FIRST + OFFSET, 8n);
    expect(tables.read(at) & Bit.d).toBe(Bit.d);
    expect(machine.finish()).toEqual([]);
  });

  test("that shows a pagetable lets it be read, and its stores are emulated", () => {
    const machine = withLargePages(levels, KERNEL_PAGE, KERNEL_PAGE);
    const { cpu, tables } = machine;
    const table = tables.tableAt(FIRST, 2);
    const at = tables.entryAt(SECOND, 2);
    cpu.read(SECOND + OFFSET);
    expect(cpu.read(FIRST + BigInt(at)) & 1n).toBe(1n);
    expect(machine.countWhile("emulated_stores", () => cpu.write(FIRST + BigInt(at), 0n))).toBe(1);
    expect(cpu.load(SECOND + OFFSET).status).toBe(Status.pageFault);
    expect(machine.frame(table)).toBeGreaterThan(0);
    expect(machine.finish()).toEqual([]);
  });

  test("shows devices where there is no memory", () => {
    const machine = withLargePages(levels, KERNEL_PAGE, KERNEL_PAGE);
    expect(machine.cpu.read(FIRST + 0x10_0000n)).toBe(BigInt(registerValue(0x100, 0) >>> 0));
    expect(machine.cpu.read(FIRST + 0x10_0000n)).toBe(BigInt(registerValue(0x100, 0) >>> 0));
    expect([machine.count("fault_mmio"), machine.count("fault_fast_mmio")]).toEqual([1, 1]);
    expect(machine.finish()).toEqual([]);
  });

  test("becomes small pages, and large again", () => {
    const machine = withLargePages(levels, KERNEL_PAGE, KERNEL_PAGE);
    const { cpu, tables } = machine;
    const at = tables.entryAt(FIRST, 2);
    cpu.write(FIRST + OFFSET, 7n);
    const table = machine.takePage();
    tables.write(table * 4096 + PAGE * (levels === 2 ? 4 : 8), entryOf(PAGE + 1, KERNEL_PAGE));
    cpu.write(machine.direct((PAGE + 1) * 4096), 9n);
    cpu.writeEntry(at, entryOf(table, USER_PAGE));
    cpu.invlpg(FIRST + OFFSET);
    expect(cpu.read(FIRST + OFFSET)).toBe(9n);
    cpu.writeEntry(at, entryOf(0, KERNEL_PAGE | Bit.ps));
    cpu.invlpg(FIRST + OFFSET);
    expect(cpu.read(FIRST + OFFSET)).toBe(7n);
    expect(machine.finish()).toEqual([]);
  });

  test("keeps its other leaves when one page of it is moved", () => {
    const machine = withLargePages(levels, KERNEL_PAGE, KERNEL_PAGE);
    const { cpu, toolstack } = machine;
    cpu.write(FIRST + OFFSET, 7n);
    cpu.write(FIRST + OFFSET + 0x1000n, 8n);
    machine.shadow.domain.write(15, 0);
    expect(toolstack.movePage(PAGE)).toBe(true);
    expect(
      machine.countWhile("demand_faults", () => expect(cpu.read(FIRST + OFFSET + 0x1000n)).toBe(8n)),
    ).toBe(0);
    expect(machine.countWhile("demand_faults", () => expect(cpu.read(FIRST + OFFSET)).toBe(7n))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("is refused with RSVD when address bits below its size are set", () => {
    for (const bit of levels === 2 ? [13n, 21n] : [13n, 20n]) {
      const machine = withLargePages(levels, KERNEL_PAGE, KERNEL_PAGE);
      machine.cpu.writeEntry(machine.tables.entryAt(FIRST, 2), KERNEL_PAGE | Bit.ps | (1n << bit));
      expect(machine.cpu.load(FIRST)).toMatchObject({ status: Status.pageFault, errorCode: 9 });
      expect(machine.finish()).toEqual([]);
    }
  });

  test("may have PAT, G and the bits that are the guest's own", () => {
    const machine = withLargePages(levels, KERNEL_PAGE | (1n << 12n) | Bit.g | 0xe18n, KERNEL_PAGE);
    machine.cpu.write(FIRST + OFFSET, 7n);
    expect(machine.cpu.read(SECOND + OFFSET)).toBe(7n);
    expect(machine.finish()).toEqual([]);
  });

  test("that is written to in user mode where it shows a table makes it a page like any other", () => {
    const machine = new TestMachine({ levels });
    const { tables } = machine;
    tables.mapLarge(FIRST, 0, USER_PAGE);
    tables.map(0x2000_0000n, PAGE, USER_PAGE);
    machine.cpu.boot();
    machine.cpu.read(0x2000_0000n);
    const table = tables.tableAt(0x2000_0000n, 1);
    machine.cpu.enterUserMode();
    machine.cpu.write(FIRST + BigInt(table * 4096 + 2048), 1n);
    expect(machine.shadow.frames.shadowFlags(machine.frame(table))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

describe("in 2-level tables PS", () => {
  test("means nothing without CR4.PSE, and what was made before does not stay", () => {
    const machine = new TestMachine({ levels: 2 });
    const { tables, cpu } = machine;
    // The same entry maps 4 MiB from 0, or a table at 0.
    tables.mapLarge(FIRST, 0, KERNEL_PAGE);
    tables.write(PAGE * 4, entryOf(PAGE + 2, KERNEL_PAGE));
    cpu.boot();
    cpu.write(machine.direct((PAGE + 2) * 4096), 9n);
    cpu.write(machine.direct(PAGE * 4096), 7n);
    for (let time = 0; time < 2; time++) {
      expect(cpu.read(FIRST + OFFSET)).toBe(7n);
      cpu.cr4(cpu.register(VcpuCell.cr4) & ~Cr4.pse);
      expect(cpu.read(FIRST + OFFSET)).toBe(9n);
      expect(machine.findings()).toEqual([]);
      cpu.cr4(cpu.register(VcpuCell.cr4) | Cr4.pse);
    }
    expect(machine.finish()).toEqual([]);
  });

  test("means what CR4 says when paging comes back on, though it changed while paging was off", () => {
    const machine = new TestMachine({ levels: 2 });
    const { tables, cpu } = machine;
    tables.mapLarge(FIRST, 0, KERNEL_PAGE);
    tables.write(PAGE * 4, entryOf(PAGE + 2, KERNEL_PAGE));
    cpu.boot();
    cpu.write(machine.direct((PAGE + 2) * 4096), 9n);
    cpu.write(FIRST + OFFSET, 7n);
    const cr0 = cpu.register(VcpuCell.cr0);
    cpu.cr0(1);
    cpu.cr4(cpu.register(VcpuCell.cr4) & ~Cr4.pse);
    cpu.cr0(cr0);
    expect(cpu.read(FIRST + OFFSET)).toBe(9n);
    expect(machine.finish()).toEqual([]);
  });

  test("of two vCPUs that differ in CR4.PSE harms no third mapping", () => {
    const machine = new TestMachine({ levels: 2, vcpus: 2 });
    const { tables } = machine;
    tables.mapLarge(FIRST, 0, KERNEL_PAGE);
    tables.write(PAGE * 4, entryOf(PAGE + 2, KERNEL_PAGE));
    const [first, second] = [machine.cpuAt(0), machine.cpuAt(1)];
    first.boot();
    first.write(machine.direct((PAGE + 2) * 4096), 9n);
    first.write(FIRST + OFFSET, 7n);
    second.boot();
    second.cr4(second.register(VcpuCell.cr4) & ~Cr4.pse);
    first.read(FIRST + OFFSET);
    second.load(FIRST + OFFSET);
    second.invlpg(FIRST + OFFSET);
    second.store(FIRST + OFFSET, 1n);
    // The leaves that all large pages of this memory share map it still.
    expect(first.read(machine.direct(PAGE * 4096))).toBe(BigInt(machine.ram.readWord(PAGE * 4096)));
    expect(machine.finish()).toEqual([]);
  });
});

test.each(FORMATS)(
  "the shadow of a large page is found by the frame where it starts (%i levels)",
  (levels) => {
    const machine = new TestMachine({ levels, ramPages: 2560 });
    const start = largePages(levels);
    machine.tables.mapLarge(FIRST, start, KERNEL_PAGE);
    machine.cpu.boot();
    machine.cpu.write(FIRST + OFFSET, 7n);
    expect(machine.shadow.frames.back(fakeLeaf(machine, start))).toBe(start);
    expect(machine.ram.readWord((start + PAGE) * 4096)).toBe(7);
    expect(machine.finish()).toEqual([]);
  },
);
