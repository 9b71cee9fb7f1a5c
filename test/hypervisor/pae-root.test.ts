/** PAE roots: four registers, taken from memory at MOV CR3 and never looked at there in between (spec 9.2, 9.3). */
import { describe, expect, test } from "vitest";
import { ShadowType } from "../../src/hypervisor/shadow/shadow-type.ts";
import { Cr4 } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, USER_PAGE, entryOf, gfnOf } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;

function pdpt(machine: TestMachine, slot: number): number {
  return machine.tables.root * 4096 + slot * 8;
}

function running(): TestMachine {
  const machine = new TestMachine({ levels: 3 });
  machine.tables.map(ADDRESS, PAGE, USER_PAGE);
  machine.cpu.boot();
  machine.cpu.write(machine.direct(PAGE * 4096), 0x11n);
  return machine;
}

describe("a page that holds PAE roots", () => {
  test("is no pagetable: stores to it, and to data beside the roots, cost no exit", () => {
    const machine = running();
    const { cpu } = machine;
    cpu.write(machine.direct(machine.tables.root * 4096 + 2048), 1n);
    const exits = machine.countWhile("exits", () => {
      for (let word = 0; word < 16; word++)
        cpu.write(machine.direct(machine.tables.root * 4096 + 2048 + word * 8), 7n, 8);
      cpu.write(machine.direct(pdpt(machine, 2)), 0n, 8);
    });
    expect([exits, machine.count("emulated_stores")]).toEqual([0, 0]);
    expect(machine.shadow.frames.shadowFlags(machine.frame(machine.tables.root))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("is looked at when CR3 is loaded, not before", () => {
    const machine = running();
    const { cpu } = machine;
    const old = machine.tables.read(pdpt(machine, 0));
    cpu.write(machine.direct(pdpt(machine, 0)), 0n, 8);
    cpu.invlpg(ADDRESS);
    expect(cpu.read(ADDRESS)).toBe(0x11n);
    cpu.cr3(machine.tables.cr3);
    expect(cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    expect(cpu.root(0)).toBe(0);
    cpu.write(machine.direct(pdpt(machine, 0)), old, 8);
    expect(cpu.load(ADDRESS).status).toBe(Status.pageFault);
    cpu.cr3(machine.tables.cr3);
    expect(cpu.read(ADDRESS)).toBe(0x11n);
    expect(machine.finish()).toEqual([]);
  });

  test.each([Cr4.pse, Cr4.pge, Cr4.smep])("is looked at when CR4 changes the mode (%i)", (bit) => {
    const machine = running();
    const { cpu } = machine;
    cpu.write(machine.direct(pdpt(machine, 0)), 0n, 8);
    cpu.cr4(cpu.register(VcpuCell.cr4) ^ bit);
    expect(cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    expect(machine.finish()).toEqual([]);
  });

  test("holds 128 of them: CR3 bits 5 to 11 say which, and bits 3 and 4 nothing", () => {
    const machine = running();
    const { cpu, tables } = machine;
    const other = machine.newTables();
    other.map(ADDRESS, PAGE + 1, USER_PAGE);
    cpu.write(machine.direct((PAGE + 1) * 4096), 0x22n);
    for (const offset of [0x20, 0x7e0, 0xfe0]) {
      for (let slot = 0; slot < 4; slot++)
        cpu.write(
          machine.direct(tables.root * 4096 + offset + slot * 8),
          other.read(other.root * 4096 + slot * 8),
          8,
        );
      cpu.cr3(tables.cr3 + BigInt(offset) + 0x18n);
      expect(cpu.read(ADDRESS)).toBe(0x22n);
      cpu.cr3(tables.cr3);
      expect(cpu.read(ADDRESS)).toBe(0x11n);
    }
    expect(machine.finish()).toEqual([]);
  });
});

describe("an entry of a PAE root", () => {
  test("has only P in hardware's register", () => {
    const machine = running();
    const { memory } = machine.machine;
    for (let slot = 0; slot < 4; slot++) {
      const root = machine.cpu.root(slot);
      expect(memory.loadEntry(machine.cpu.vcpu.area + VcpuCell.pdptes + 2 * slot)).toBe((root << 12) | 1);
      expect(machine.shadow.frames.type(root)).toBe(ShadowType.l2_pae);
    }
    expect(machine.finish()).toEqual([]);
  });

  test.each([Bit.w, Bit.u, Bit.a, Bit.d, Bit.ps, Bit.g, 1n << 40n, 1n << 52n, Bit.nx])(
    "with the reserved bit %i makes every access below fault with RSVD",
    (bit) => {
      const machine = running();
      machine.cpu.write(machine.direct(pdpt(machine, 0)), machine.tables.read(pdpt(machine, 0)) | bit, 8);
      machine.cpu.cr3(machine.tables.cr3);
      expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 9 });
      expect(machine.finish()).toEqual([]);
    },
  );

  test("may name a page that another names too", () => {
    const machine = running();
    const { cpu, tables } = machine;
    cpu.write(machine.direct(pdpt(machine, 1)), tables.read(pdpt(machine, 0)), 8);
    cpu.cr3(tables.cr3);
    expect(cpu.root(1)).toBe(cpu.root(0));
    expect(cpu.read(ADDRESS + (1n << 30n))).toBe(0x11n);
    cpu.writeEntry(tables.entryAt(ADDRESS, 2), 0n);
    expect([cpu.load(ADDRESS).status, cpu.load(ADDRESS + (1n << 30n)).status]).toEqual([1, 1]);
    expect(machine.finish()).toEqual([]);
  });

  test("never gets A", () => {
    const machine = running();
    machine.cpu.read(ADDRESS);
    expect(machine.tables.read(pdpt(machine, 0)) & 0xfffn).toBe(Bit.p);
    expect(machine.finish()).toEqual([]);
  });

  test("that named no memory when CR3 was loaded, and does now, costs the guest one fault", () => {
    const machine = running();
    const { cpu, toolstack, tables } = machine;
    const level2 = gfnOf(tables.read(pdpt(machine, 1)));
    cpu.cr3(machine.newTables().cr3);
    toolstack.removePage(level2);
    cpu.cr3(tables.cr3);
    expect(cpu.root(1)).toBe(0);
    expect(toolstack.addPage(level2)).toBe(true);
    const leaf = tables.tableAt(ADDRESS, 1);
    cpu.write(machine.direct(level2 * 4096), entryOf(leaf, USER_PAGE), 8);
    cpu.writeEntry(leaf * 4096, entryOf(PAGE, USER_PAGE));
    expect(cpu.store(0x4000_0000n, 1n)).toMatchObject({
      status: Status.pageFault,
      errorCode: 2,
      cr2: 0x4000_0000n,
    });
    expect(cpu.store(0x4000_0000n, 1n).status).toBe(Status.done);
    expect(machine.finish()).toEqual([]);
  });
});

test("the page of a PAE root can be taken from the guest while it is loaded", () => {
  const machine = running();
  machine.toolstack.removePage(machine.tables.root);
  expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
  const other = machine.newTables();
  machine.cpu.cr3(other.cr3);
  expect(machine.finish()).toEqual([]);
});
