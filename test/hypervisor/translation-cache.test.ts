/** What walks have answered is remembered as long as a TLB might remember it, and no longer (spec 10.5). */
import { describe, expect, test } from "vitest";
import { Cr0, Cr4 } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const WINDOW = 0x2000_0000n;
const REGISTERS = 0x3000_0000n;
const TABLE = 0x90;
const OTHER = 0x94;
const PAGE = 0x80;
const DEVICE = 0x300;
const ON = { "translation-cache": true } as const;

/** Two leaf tables; `WINDOW` shows the first, `REGISTERS` a device. */
function withTables(levels: GuestLevels, switches = {}): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, switches: { prefetch: false, ...ON, ...switches } });
  const { tables } = machine;
  tables.link(ADDRESS, 2, TABLE);
  tables.link(ADDRESS + 0x40_0000n, 2, OTHER);
  for (const table of [TABLE, OTHER])
    tables.write(table * 4096, entryOf(PAGE + (table === TABLE ? 0 : 1), USER_PAGE));
  tables.map(WINDOW, TABLE, KERNEL_PAGE);
  tables.map(REGISTERS, DEVICE, KERNEL_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  machine.cpu.read(ADDRESS);
  machine.cpu.read(ADDRESS + 0x40_0000n);
  return machine;
}

/** Walks of the guest's tables that ten polls of a device take. */
function polls(machine: TestMachine): number {
  return machine.countWhile("guest_walk", () => {
    for (let poll = 0; poll < 10; poll++) {
      machine.cpu.load(REGISTERS + BigInt(64 * poll));
      expect(machine.cpu.vcpu.deviceFrame).toBe(DEVICE);
    }
  });
}

describe.each(FORMATS)("the translation cache of a %i-level guest", (levels) => {
  const bytes = entryBytes(levels);
  const store = (machine: TestMachine, gfn: number): number =>
    machine.cpu.store(WINDOW, entryOf(gfn, USER_PAGE), bytes).status;

  test("saves the emulator's walk: the handler's own has the answer", () => {
    const machine = withTables(levels);
    expect(machine.countWhile("guest_walk", () => store(machine, PAGE + 2))).toBe(1);
    expect(machine.count("translation_cache_hits")).toBe(1);
    const without = withTables(levels, { "translation-cache": false });
    expect(without.countWhile("guest_walk", () => store(without, PAGE + 2))).toBe(2);
    expect([...machine.finish(), ...without.finish()]).toEqual([]);
  });

  test("saves every walk for MMIO but the first, with the lock and without magic entries", () => {
    const slow = { "fast-fault-path": false };
    expect(polls(withTables(levels, { ...slow, "translation-cache": false }))).toBe(10);
    expect(polls(withTables(levels, slow))).toBe(1);
  });

  test.each([
    ["INVLPG of any page", (machine: TestMachine) => machine.cpu.invlpg(ADDRESS)],
    ["MOV CR3 of the same value", (machine: TestMachine) => machine.cpu.cr3(machine.tables.cr3)],
    [
      "a change of mode",
      (machine: TestMachine) => machine.cpu.cr4(machine.cpu.register(VcpuCell.cr4) ^ Cr4.pge),
    ],
  ])("forgets everything at %s", (_, flush) => {
    const machine = withTables(levels, { "fast-emulate": true });
    store(machine, PAGE + 2);
    expect(machine.countWhile("guest_walk", () => store(machine, PAGE + 3))).toBe(0);
    flush(machine);
    machine.cpu.read(WINDOW);
    expect(machine.countWhile("guest_walk", () => store(machine, PAGE + 4))).toBeGreaterThan(0);
    expect(machine.finish()).toEqual([]);
  });

  test("may send a store to where the page was, until the guest flushes", () => {
    const machine = withTables(levels, { "fast-emulate": true });
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    store(machine, PAGE + 2);
    other.writeEntry(machine.tables.entryAt(WINDOW, 1), entryOf(OTHER, KERNEL_PAGE));
    expect(store(machine, PAGE + 3)).toBe(Status.done);
    expect(machine.tables.read(TABLE * 4096)).toBe(entryOf(PAGE + 3, USER_PAGE));
    cpu.invlpg(WINDOW);
    expect(store(machine, PAGE + 4)).toBe(Status.done);
    expect(machine.tables.read(OTHER * 4096)).toBe(entryOf(PAGE + 4, USER_PAGE));
    expect(machine.finish()).toEqual([]);
  });

  test("forgets a page at which the guest gets a page fault, as a TLB does", () => {
    const machine = withTables(levels, { "fast-fault-path": false });
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    cpu.load(REGISTERS);
    other.writeEntry(machine.tables.entryAt(REGISTERS, 1), 0n);
    expect(cpu.load(REGISTERS).status).toBe(Status.done);
    expect(cpu.store(REGISTERS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 2 });
    expect(cpu.load(REGISTERS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
  });

  test("does not outlive the registers that permitted the access", () => {
    const machine = withTables(levels, { "fast-emulate": true });
    const { cpu } = machine;
    const at = machine.tables.entryAt(WINDOW, 1);
    cpu.writeEntry(at, entryOf(TABLE, KERNEL_PAGE & ~Bit.w));
    cpu.invlpg(WINDOW);
    const writeProtect = cpu.register(VcpuCell.cr0);
    cpu.cr0(writeProtect & ~Cr0.wp);
    expect(store(machine, PAGE + 2)).toBe(Status.done);
    expect(store(machine, PAGE + 3)).toBe(Status.done);
    cpu.cr0(writeProtect);
    expect(store(machine, PAGE + 4)).toBe(Status.pageFault);
    expect(machine.tables.read(TABLE * 4096)).toBe(entryOf(PAGE + 3, USER_PAGE));
    expect(machine.finish()).toEqual([]);
  });

  test("does not answer the kernel with what user mode may do", () => {
    const machine = withTables(levels, { "fast-fault-path": false });
    const { cpu } = machine;
    const at = machine.tables.entryAt(REGISTERS, 1);
    cpu.writeEntry(at, entryOf(DEVICE, USER_PAGE));
    cpu.cr4(cpu.register(VcpuCell.cr4) | Cr4.smap);
    cpu.enterUserMode();
    expect(cpu.load(REGISTERS).status).toBe(Status.done);
    cpu.enterKernelMode();
    expect(cpu.load(REGISTERS).status).toBe(Status.pageFault);
    cpu.enterKernelMode(true);
    expect(cpu.load(REGISTERS).status).toBe(Status.done);
  });

  test("has a stale device answer nothing once memory is there", () => {
    const machine = withTables(levels, { "fast-fault-path": false });
    const gfn = 0x70;
    machine.toolstack.removePage(gfn);
    machine.cpu.writeEntry(machine.tables.entryAt(REGISTERS, 1), entryOf(gfn, KERNEL_PAGE));
    machine.cpu.invlpg(REGISTERS);
    machine.cpu.load(REGISTERS);
    expect(machine.cpu.vcpu.deviceFrame).toBe(gfn);
    machine.toolstack.addPage(gfn);
    machine.cpu.write(REGISTERS, 0x55n);
    expect(machine.cpu.read(machine.direct(gfn * 4096))).toBe(0x55n);
    expect(machine.finish()).toEqual([]);
  });
});
