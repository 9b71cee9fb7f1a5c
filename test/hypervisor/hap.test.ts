/** The second assistance mode: what costs an exit and what does not, and what hardware does to the guest's own tables. */
import { describe, expect, test } from "vitest";
import { registerValue } from "../../src/hypervisor/device.ts";
import { Cr0 } from "../../src/machine/control-registers.ts";
import { FaultCode } from "../../src/machine/fault-code.ts";
import { Status } from "../../src/machine/exits.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { FrameUse } from "../../src/memory/frame-table.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, USER_PAGE, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
const DEVICE_GFN = 0x5000;

function hapMachine(levels: GuestLevels, structureCacheEntries = 0): TestMachine {
  const machine = TestMachine.running({ levels, paging: "hap", vcpus: 2, structureCacheEntries });
  for (let index = 0; index < 4; index++)
    machine.tables.map(ADDRESS + BigInt(index * 4096), PAGE + index, USER_PAGE);
  return machine;
}

function entry(machine: TestMachine, address: bigint, level = 1): bigint {
  return machine.tables.read(machine.tables.entryAt(address, level));
}

function setEntry(machine: TestMachine, address: bigint, value: bigint, level = 1): void {
  machine.tables.write(machine.tables.entryAt(address, level), value);
}

describe.each(FORMATS)("with %i levels", (levels) => {
  test("stores to pagetables, MOV CR3, INVLPG and page faults are no exits", () => {
    const machine = hapMachine(levels);
    const { cpu } = machine;
    const other = machine.newTables();
    const at = machine.tables.entryAt(ADDRESS, 1);
    const exits = machine.countWhile("exits", () => {
      cpu.read(ADDRESS);
      cpu.writeEntry(at, entryOf(PAGE + 1, USER_PAGE));
      cpu.invlpg(ADDRESS);
      cpu.write(ADDRESS, 0x1234n);
      cpu.cr3(other.cr3);
      expect(cpu.load(ADDRESS).status).toBe(Status.pageFault);
      cpu.cr3(machine.tables.cr3);
      expect(cpu.read(ADDRESS)).toBe(0x1234n);
    });
    expect(exits).toBe(0);
    expect(machine.count("native_faults")).toBe(1);
    expect(machine.ram.readWord((PAGE + 1) * 4096)).toBe(0x1234);
    expect(machine.finish()).toEqual([]);
  });

  test("A and D are set in the guest's own entries, D by stores alone", () => {
    const machine = hapMachine(levels);
    setEntry(machine, ADDRESS, entryOf(PAGE, Bit.p | Bit.w | Bit.u));
    machine.cpu.read(ADDRESS);
    expect(entry(machine, ADDRESS) & (Bit.a | Bit.d)).toBe(Bit.a);
    machine.cpu.write(ADDRESS, 1n);
    expect(entry(machine, ADDRESS) & (Bit.a | Bit.d)).toBe(Bit.a | Bit.d);
    expect(machine.finish()).toEqual([]);
  });

  test("A is set on the way to a refusal, as hardware does and shadow mode's walk does not", () => {
    const machine = hapMachine(levels);
    const upper = entry(machine, ADDRESS, 2) & ~Bit.a;
    setEntry(machine, ADDRESS, upper, 2);
    setEntry(machine, ADDRESS, 0n);
    expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0, cr2: ADDRESS });
    expect(entry(machine, ADDRESS, 2)).toBe(upper | Bit.a);
  });

  test("rights that were raised without a flush fault in no TLB", () => {
    const machine = hapMachine(levels);
    setEntry(machine, ADDRESS, entryOf(PAGE, USER_PAGE & ~Bit.w));
    machine.cpu.read(ADDRESS);
    expect(machine.cpu.store(ADDRESS, 1n)).toMatchObject({
      status: Status.pageFault,
      errorCode: FaultCode.write | FaultCode.present,
    });
    machine.cpu.read(ADDRESS);
    setEntry(machine, ADDRESS, entryOf(PAGE, USER_PAGE));
    expect(machine.cpu.store(ADDRESS, 2n).status).toBe(Status.done);
  });

  test("a supervisor writes to read-only pages while WP is clear, user mode does not, and nobody exits for it", () => {
    const machine = hapMachine(levels);
    const { cpu } = machine;
    setEntry(machine, ADDRESS, entryOf(PAGE, USER_PAGE & ~Bit.w));
    cpu.read(ADDRESS);
    cpu.cr0(Cr0.pg | Cr0.pe);
    const exits = machine.countWhile("exits", () => {
      cpu.write(ADDRESS, 0x77n);
      cpu.enterUserMode();
      expect(cpu.store(ADDRESS, 1n).status).toBe(Status.pageFault);
      cpu.enterKernelMode();
      cpu.write(ADDRESS + 4n, 0x78n);
    });
    expect(exits).toBe(0);
    cpu.cr0(Cr0.pg | Cr0.wp | Cr0.pe);
    expect(cpu.store(ADDRESS, 1n).status).toBe(Status.pageFault);
    expect(machine.ram.readWord(PAGE * 4096)).toBe(0x77);
  });

  test("INVLPG drops every part of a large page from the TLB, and not the rest", () => {
    const machine = hapMachine(levels, 16);
    const { cpu } = machine;
    const first = machine.direct((PAGE + 4) * 4096);
    const second = machine.direct((PAGE + 5) * 4096);
    for (const address of [first, second, ADDRESS]) cpu.read(address);
    expect(machine.countWhile("tlb_hits", () => [first, second, ADDRESS].map((at) => cpu.read(at)))).toBe(3);
    cpu.invlpg(first);
    expect(machine.countWhile("tlb_hits", () => cpu.read(second))).toBe(0);
    expect(machine.countWhile("tlb_hits", () => cpu.read(ADDRESS))).toBe(1);
  });

  test("a gfn that is no memory is a device, one nested fault an access", () => {
    const machine = hapMachine(levels);
    setEntry(machine, ADDRESS, entryOf(DEVICE_GFN, USER_PAGE));
    const exits = machine.countWhile("nested_faults", () => {
      for (let times = 0; times < 3; times++)
        expect(machine.cpu.read(ADDRESS + 8n)).toBe(BigInt.asUintN(32, BigInt(registerValue(DEVICE_GFN, 8))));
    });
    expect(exits).toBe(3);
    expect(machine.count("mmio")).toBe(3);
    expect(machine.findings()).toEqual([]);
  });

  test("an access that is half in memory, half in a device gets to both, or to neither", () => {
    const machine = hapMachine(levels);
    setEntry(machine, ADDRESS + 0x1000n, entryOf(DEVICE_GFN, USER_PAGE));
    machine.cpu.write(ADDRESS + 0xffen, 0x1122_3344n);
    expect(machine.ram.readWord(PAGE * 4096 + 0xffc) >>> 16).toBe(0x3344);
    const device = BigInt(registerValue(DEVICE_GFN, 0) & 0xffff);
    expect(machine.cpu.read(ADDRESS + 0xffen)).toBe((device << 16n) | 0x3344n);
    setEntry(machine, ADDRESS, entryOf(PAGE, USER_PAGE & ~Bit.w));
    machine.cpu.invlpg(ADDRESS);
    expect(machine.cpu.store(ADDRESS + 0xffen, 0n).status).toBe(Status.pageFault);
    expect(machine.ram.readWord(PAGE * 4096 + 0xffc) >>> 16).toBe(0x3344);
  });

  test("a pagetable that is no memory is one without entries", () => {
    const machine = hapMachine(levels);
    const upper = entry(machine, ADDRESS, 2);
    setEntry(machine, ADDRESS, entryOf(DEVICE_GFN, USER_PAGE & ~Bit.d), 2);
    expect(machine.cpu.store(ADDRESS, 1n)).toMatchObject({
      status: Status.pageFault,
      errorCode: FaultCode.write,
      cr2: ADDRESS,
    });
    setEntry(machine, ADDRESS, upper, 2);
    expect(machine.cpu.store(ADDRESS, 1n).status).toBe(Status.done);
  });

  test("a page that is taken away leaves every TLB, and comes back as another frame", () => {
    const machine = hapMachine(levels, 16);
    for (const cpu of machine.cpus) cpu.write(ADDRESS, 5n);
    const frame = machine.frame(PAGE);
    machine.toolstack.removePage(PAGE);
    for (const cpu of machine.cpus)
      expect(cpu.read(ADDRESS)).toBe(BigInt.asUintN(32, BigInt(registerValue(PAGE, 0))));
    expect(machine.machine.frames.use(frame)).toBe(FrameUse.heap);
    expect(machine.toolstack.addPage(PAGE)).toBe(true);
    for (const cpu of machine.cpus) cpu.write(ADDRESS, 6n);
    expect(machine.toolstack.movePage(PAGE)).toBe(true);
    for (const cpu of machine.cpus) expect(cpu.read(ADDRESS)).toBe(6n);
    expect(machine.finish()).toEqual([]);
  });

  test("a root that is taken away is a table without entries, and the domain lives", () => {
    const machine = hapMachine(levels);
    machine.cpu.read(ADDRESS);
    machine.toolstack.removePage(machine.tables.root);
    // PAE roots are in registers until the next MOV CR3.
    if (levels === 3) machine.cpu.cr3(machine.tables.cr3);
    expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    expect(machine.machine.domain.isDead()).toBe(false);
    expect(machine.finish()).toEqual([]);
  });

  test("with paging off a linear address is a guest physical one", () => {
    const machine = hapMachine(levels);
    machine.cpu.cr0(Cr0.pe);
    machine.cpu.write(BigInt((PAGE + 3) * 4096), 0x99n);
    expect(machine.ram.readWord((PAGE + 3) * 4096)).toBe(0x99);
    expect(machine.cpu.register(VcpuCell.guestTable)).toBe(
      machine.machine.domain.read(DomainCell.unpagedTable),
    );
    expect(machine.finish()).toEqual([]);
  });
});

test("a PDPTE counts from the MOV CR3 that loads it", () => {
  const machine = hapMachine(3);
  machine.cpu.read(ADDRESS);
  const root = machine.tables.root * 4096;
  const old = machine.tables.read(root);
  machine.tables.write(root, 0n);
  machine.cpu.invlpg(ADDRESS);
  machine.cpu.read(ADDRESS);
  machine.cpu.cr3(machine.tables.cr3);
  expect(machine.cpu.load(ADDRESS).status).toBe(Status.pageFault);
  machine.tables.write(root, old);
  expect(machine.cpu.load(ADDRESS).status).toBe(Status.pageFault);
  machine.cpu.cr3(machine.tables.cr3);
  machine.cpu.read(ADDRESS);
});

test("the pool shrinks to the p2m's tables and no further", () => {
  const machine = hapMachine(4);
  const tables = machine.machine.domain.read(DomainCell.p2mPages);
  expect(tables).toBe(4);
  expect(machine.toolstack.setAllocation(1)).toBe(tables);
  expect(machine.toolstack.allocation()).toBe(tables);
  expect(machine.toolstack.setAllocation(100)).toBe(100);
  machine.cpu.read(ADDRESS);
  expect(machine.finish()).toEqual([]);
});

test("the parts of shadow mode are not to be had", () => {
  const machine = hapMachine(4);
  expect(() => machine.shadow).toThrow("the machine does not run in shadow mode: it has no shadows");
});
