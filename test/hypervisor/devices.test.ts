/** What devices write to memory behind the vCPUs' backs, of which the paging interface is told. */
import { describe, expect, test } from "vitest";
import { leafTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { Status } from "../../src/machine/exits.ts";
import { Bit, FORMATS, USER_PAGE, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;

function withPages(levels: GuestLevels): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2 });
  machine.tables.map(ADDRESS, PAGE, USER_PAGE);
  machine.tables.map(ADDRESS + 0x1000n, PAGE + 1, USER_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  machine.cpu.write(ADDRESS, 0x11n);
  machine.cpu.write(ADDRESS + 0x1000n, 0x22n);
  machine.cpuAt(1).read(ADDRESS);
  return machine;
}

function writeEntry(machine: TestMachine, at: number, entry: bigint): void {
  machine.toolstack.deviceWrite(at, Number(BigInt.asIntN(32, entry)));
  if (machine.levels !== 2) machine.toolstack.deviceWrite(at + 4, Number(BigInt.asIntN(32, entry >> 32n)));
}

describe.each(FORMATS)("a device's write with %i levels", (levels) => {
  test("to a page costs nothing else", () => {
    const machine = withPages(levels);
    machine.toolstack.deviceWrite(PAGE * 4096, 0x33);
    expect(machine.cpu.read(ADDRESS)).toBe(0x33n);
    expect([machine.count("device_writes"), machine.count("device_modified")]).toEqual([1, 0]);
    expect(machine.finish()).toEqual([]);
  });

  test("to a leaf table is in force for everybody at once, with no flush by the guest", () => {
    const machine = withPages(levels);
    writeEntry(machine, machine.tables.entryAt(ADDRESS, 1), entryOf(PAGE + 1, USER_PAGE));
    for (const cpu of machine.cpus) expect(cpu.read(ADDRESS)).toBe(0x22n);
    expect(machine.count("device_modified")).toBeGreaterThan(0);
    expect(machine.finish()).toEqual([]);
  });

  test("to a leaf table unshadows it", () => {
    const machine = withPages(levels);
    machine.toolstack.deviceWrite(machine.tables.tableAt(ADDRESS, 1) * 4096 + 2048, 0);
    expect(machine.shadowOf(machine.tables.tableAt(ADDRESS, 1), leafTypeOf(levels))).toBe(0);
    expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
    expect(machine.finish()).toEqual([]);
  });

  test("to a root that is loaded changes what vCPUs see, and the root stays", () => {
    const machine = withPages(levels);
    const root = machine.cpu.root();
    const at = machine.tables.entryAt(ADDRESS, levels === 3 ? 2 : levels);
    const old = machine.tables.read(at);
    writeEntry(machine, at, 0n);
    for (const cpu of machine.cpus)
      expect(cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    writeEntry(machine, at, old);
    for (const cpu of machine.cpus) expect(cpu.read(ADDRESS)).toBe(0x11n);
    expect(machine.cpu.root()).toBe(root);
    expect(machine.finish()).toEqual([]);
  });

  test("that takes a right away takes it from everybody", () => {
    const machine = withPages(levels);
    writeEntry(machine, machine.tables.entryAt(ADDRESS, 1), entryOf(PAGE, USER_PAGE & ~Bit.w));
    for (const cpu of machine.cpus)
      expect(cpu.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
    expect(machine.finish()).toEqual([]);
  });

  test("of a bogus entry maps nothing", () => {
    const machine = withPages(levels);
    writeEntry(machine, machine.tables.entryAt(ADDRESS, 2), entryOf(0xf_f000, USER_PAGE));
    expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    writeEntry(
      machine,
      machine.tables.entryAt(ADDRESS, 2),
      entryOf(machine.tables.tableAt(ADDRESS + 0x3000n, 1), USER_PAGE),
    );
    expect(machine.findings()).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });

  test("to where there is no memory goes nowhere", () => {
    const machine = withPages(levels);
    machine.toolstack.deviceWrite(0x3000_0000, 1);
    machine.toolstack.removePage(PAGE);
    machine.toolstack.deviceWrite(PAGE * 4096, 1);
    expect(machine.count("device_writes")).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("by the thread of a vCPU does the same", () => {
    const machine = withPages(levels);
    const { paging } = machine.cpu.hosted;
    const at = machine.tables.entryAt(ADDRESS, 1);
    expect(paging.deviceWrite(at, Number(entryOf(PAGE + 1, USER_PAGE)))).toBe(true);
    expect(paging.deviceWrite(0x3000_0000, 1)).toBe(false);
    expect(paging.readGuestWord(at)).toBe(Number(entryOf(PAGE + 1, USER_PAGE)));
    expect(paging.readGuestWord(0x3000_0000)).toBe(0);
    for (const cpu of machine.cpus) expect(cpu.read(ADDRESS)).toBe(0x22n);
    expect(machine.finish()).toEqual([]);
  });
});
