/** A guest that says which process is dying: its tables go at the first zero, those of others do not (spec 4.11). */
import { describe, expect, test } from "vitest";
import { leafTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { Status } from "../../src/machine/exits.ts";
import { FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine, high, low } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const WINDOW = 0x2000_0000n;
const TABLE = 0x90;
const PAGE = 0x80;
const DYING = 2;

function withTable(levels: GuestLevels, isHeeded = true): TestMachine {
  const machine = new TestMachine({
    levels,
    vcpus: 2,
    switches: { prefetch: false, "pagetable-dying": isHeeded },
  });
  const { tables } = machine;
  tables.link(ADDRESS, 2, TABLE);
  for (let index = 0; index < 4; index++)
    tables.write(TABLE * 4096 + index * entryBytes(levels), entryOf(PAGE + index, USER_PAGE));
  tables.map(WINDOW, TABLE, KERNEL_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  for (const cpu of machine.cpus) cpu.read(ADDRESS);
  machine.cpu.read(WINDOW);
  return machine;
}

function announce(machine: TestMachine): void {
  const { cr3 } = machine.tables;
  expect(machine.cpu.vcpu.hypercall(DYING, low(cr3), high(cr3))).toBe(Status.done);
}

function isShadowed(machine: TestMachine): boolean {
  return machine.shadowOf(TABLE, leafTypeOf(machine.levels)) !== 0;
}

/** Stores zeros to entries of the table, whole entries. */
function clear(machine: TestMachine, vcpu: number, entries: readonly number[]): void {
  const bytes = entryBytes(machine.levels);
  for (const entry of entries) machine.cpuAt(vcpu).write(WINDOW + BigInt(entry * bytes), 0n, bytes);
}

describe.each(FORMATS)("the hint that a process of a %i-level guest is dying", (levels) => {
  test("unshadows its tables at the first zero, where it takes two without", () => {
    const machine = withTable(levels);
    announce(machine);
    machine.cpu.read(ADDRESS);
    clear(machine, 0, [0]);
    expect([isShadowed(machine), machine.count("early_unshadow")]).toEqual([false, 1]);
    const without = withTable(levels);
    clear(without, 0, [0]);
    expect(isShadowed(without)).toBe(true);
    clear(without, 0, [1]);
    expect([isShadowed(without), without.count("early_unshadow")]).toEqual([false, 1]);
    expect([...machine.finish(), ...without.finish()]).toEqual([]);
  });

  test("takes its mappings away on every vCPU; they come back when they are used", () => {
    const machine = withTable(levels);
    const faults = (vcpu: number): number =>
      machine.countWhile("demand_faults", () => machine.cpuAt(vcpu).read(ADDRESS));
    expect([faults(0), faults(1)]).toEqual([0, 0]);
    announce(machine);
    // The tree is shared: whoever comes first has it made again for both.
    expect([faults(1), faults(0)]).toEqual([1, 0]);
    expect(machine.findings()).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });

  test("ends the guessing: two zeros by a vCPU that has not given it are two zeros", () => {
    const machine = withTable(levels);
    announce(machine);
    machine.cpuAt(1).read(ADDRESS);
    clear(machine, 1, [0, 1, 2]);
    expect([isShadowed(machine), machine.count("early_unshadow")]).toEqual([true, 0]);
    expect(machine.finish()).toEqual([]);
  });

  test("holds until CR3 is loaded", () => {
    const machine = withTable(levels);
    announce(machine);
    machine.cpu.cr3(machine.tables.cr3);
    machine.cpu.read(ADDRESS);
    clear(machine, 0, [0, 1]);
    expect(isShadowed(machine)).toBe(true);
    expect(machine.finish()).toEqual([]);
  });

  test("is nothing where it is not heeded, or names no root", () => {
    const machine = withTable(levels, false);
    announce(machine);
    clear(machine, 0, [0]);
    expect([isShadowed(machine), machine.count("pagetable_dying")]).toEqual([true, 0]);
    const other = withTable(levels);
    expect(other.cpu.vcpu.hypercall(DYING, -4096, 0xff)).toBe(Status.done);
    expect(other.cpu.read(ADDRESS)).toBe(0n);
    expect([...machine.finish(), ...other.finish()]).toEqual([]);
  });
});
