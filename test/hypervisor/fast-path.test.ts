/** Faults answered without the lock (spec 4.3, 4.4). */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  NOT_PRESENT_MAGIC,
  isMagic,
  isNotPresentMagic,
  mmioMagicGfn,
  mmioMagicHigh,
  mmioMagicLow,
  refersToFrame,
} from "../../src/hypervisor/shadow/shadow-entry.ts";
import { registerValue } from "../../src/hypervisor/device.ts";
import { readLockStatistics } from "../../src/locks/lock-statistics.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import { Cr0, Cr4 } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
/** A gfn where there is no memory. */
const DEVICE = 0x1_0000;
const PAGE = 0x80;

function entry64(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

describe("a magic entry", () => {
  test("of a device has all ones from bit 36 up, its gfn from bit 4, and the rights of the guest's entry", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 28 - 1 }), fc.constantFrom(0, 2, 4, 6), (gfn, rights) => {
        const [low, high] = [mmioMagicLow(gfn, rights | 0x61), mmioMagicHigh(gfn)];
        expect(entry64(low, high)).toBe((0xfff_ffffn << 36n) | (BigInt(gfn) << 4n) | BigInt(rights | 1));
        expect([isMagic(low, high), isNotPresentMagic(low), mmioMagicGfn(low, high)]).toEqual([
          true,
          false,
          gfn,
        ]);
        expect(refersToFrame(low, high)).toBe(false);
      }),
    );
  });

  test("that says not present is all ones", () => {
    expect(isMagic(NOT_PRESENT_MAGIC, NOT_PRESENT_MAGIC)).toBe(true);
    expect(isNotPresentMagic(NOT_PRESENT_MAGIC)).toBe(true);
  });

  test("is none without P, whatever else it holds", () => {
    expect(isMagic(-2, -1)).toBe(false);
    expect(isMagic(-1, 0x7fff_ffff)).toBe(false);
  });
});

/** A guest with a device page, a page, and nothing beside them. */
function withDevice(levels: GuestLevels, flags = KERNEL_PAGE, switches = {}): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, switches });
  machine.tables.map(ADDRESS, PAGE, USER_PAGE);
  machine.tables.map(ADDRESS + 0x1000n, DEVICE, flags);
  for (const cpu of machine.cpus) cpu.boot();
  machine.cpu.read(ADDRESS);
  return machine;
}

/** How often the paging lock is taken while something is done. */
function locksWhile(machine: TestMachine, act: () => void): number {
  const { memory, layout } = machine.machine;
  const paging = LOCK_NAMES.indexOf("paging");
  const before = readLockStatistics(memory, layout, paging).acquisitions;
  act();
  return readLockStatistics(memory, layout, paging).acquisitions - before;
}

describe.each(FORMATS)("the fast path of a %i-level guest", (levels) => {
  test("gives a fault on an absent page to the guest, without the lock", () => {
    const machine = withDevice(levels);
    const { cpu } = machine;
    const locks = locksWhile(machine, () => {
      expect(cpu.load(ADDRESS + 0x2000n)).toMatchObject({ status: 1, errorCode: 0, cr2: ADDRESS + 0x2000n });
      expect(cpu.store(ADDRESS + 0x2000n, 1n)).toMatchObject({ status: 1, errorCode: 2 });
      cpu.enterUserMode();
      expect(cpu.store(ADDRESS + 0x2000n, 1n)).toMatchObject({ status: 1, errorCode: 6 });
      expect(cpu.fetch(ADDRESS + 0x2000n)).toMatchObject({ status: 1, errorCode: levels === 2 ? 4 : 20 });
    });
    expect([locks, machine.count("fault_fast_gnp")]).toEqual([0, 4]);
    expect(machine.finish()).toEqual([]);
  });

  test("lets the guest read and write a device, without the lock", () => {
    const machine = withDevice(levels);
    const { cpu } = machine;
    const locks = locksWhile(machine, () => {
      expect(cpu.read(ADDRESS + 0x1010n)).toBe(BigInt(registerValue(DEVICE, 0x10) >>> 0));
      expect(cpu.read(ADDRESS + 0x1010n, 8)).toBe(
        entry64(registerValue(DEVICE, 0x10), registerValue(DEVICE, 0x14)),
      );
      expect(cpu.read(ADDRESS + 0x1010n, 1)).toBe(BigInt(registerValue(DEVICE, 0x10) & 0xff));
      cpu.write(ADDRESS + 0x1010n, 5n);
      expect(cpu.exchange(ADDRESS + 0x1010n, 0n, 5n)).toMatchObject({
        status: Status.done,
        exchanged: false,
      });
    });
    expect([locks, machine.count("fault_fast_mmio"), machine.count("mmio")]).toEqual([0, 5, 5]);
    expect(cpu.vcpu.deviceFrame).toBe(DEVICE);
    expect(machine.finish()).toEqual([]);
  });

  test.each([
    { what: "user mode may not", flags: KERNEL_PAGE, user: true, write: false, errorCode: 5 },
    { what: "nobody may write", flags: KERNEL_PAGE & ~Bit.w, user: false, write: true, errorCode: 3 },
    { what: "user mode may not write", flags: USER_PAGE & ~Bit.w, user: true, write: true, errorCode: 7 },
  ])(
    "leaves it to the slow path to refuse a device access that $what make",
    ({ flags, user, write, errorCode }) => {
      const machine = withDevice(levels, flags);
      if (user) machine.cpu.enterUserMode();
      const answer = write ? machine.cpu.store(ADDRESS + 0x1000n, 1n) : machine.cpu.load(ADDRESS + 0x1000n);
      expect(answer).toMatchObject({ status: Status.pageFault, errorCode });
      expect(machine.count("fault_fast_mmio")).toBe(0);
      expect(machine.finish()).toEqual([]);
    },
  );

  test("heeds SMAP, and lets accesses through that AC allows", () => {
    const machine = withDevice(levels, USER_PAGE);
    const { cpu } = machine;
    cpu.cr4(cpu.register(VcpuCell.cr4) | Cr4.smap);
    expect(cpu.load(ADDRESS + 0x1000n)).toMatchObject({ status: Status.pageFault, errorCode: 1 });
    cpu.enterKernelMode(true);
    expect(cpu.load(ADDRESS + 0x1000n).status).toBe(Status.done);
    cpu.vcpu.setPrivilege(3, true, true);
    expect(cpu.load(ADDRESS + 0x1000n)).toMatchObject({ status: Status.pageFault, errorCode: 1 });
    expect(machine.finish()).toEqual([]);
  });

  test("sets A and D of a device's entry by the slow path first", () => {
    const machine = withDevice(levels, Bit.p | Bit.w);
    const { cpu, tables } = machine;
    const at = tables.entryAt(ADDRESS + 0x1000n, 1);
    const rest = entryOf(DEVICE, Bit.p | Bit.w);
    cpu.read(ADDRESS + 0x1000n);
    expect([tables.read(at), machine.count("fault_mmio")]).toEqual([rest | Bit.a, 1]);
    cpu.read(ADDRESS + 0x1000n);
    cpu.write(ADDRESS + 0x1000n, 1n);
    expect([tables.read(at), machine.count("fault_mmio")]).toEqual([rest | Bit.a | Bit.d, 2]);
    cpu.write(ADDRESS + 0x1000n, 1n);
    expect([machine.count("fault_fast_mmio"), machine.count("fault_mmio")]).toEqual([2, 2]);
    expect(machine.finish()).toEqual([]);
  });

  test("sets D of a device's entry also when CR0.WP is clear", () => {
    const machine = withDevice(levels, Bit.p | Bit.w | Bit.a);
    machine.cpu.cr0(machine.cpu.register(VcpuCell.cr0) & ~Cr0.wp);
    machine.cpu.write(ADDRESS + 0x1000n, 1n);
    expect(machine.tables.read(machine.tables.entryAt(ADDRESS + 0x1000n, 1)) & Bit.d).toBe(Bit.d);
    expect(machine.finish()).toEqual([]);
  });

  test("follows what the guest writes to the entry", () => {
    const machine = withDevice(levels);
    const { cpu, tables } = machine;
    cpu.writeEntry(tables.entryAt(ADDRESS + 0x2000n, 1), entryOf(DEVICE + 1, KERNEL_PAGE));
    expect(cpu.read(ADDRESS + 0x2000n)).toBe(BigInt(registerValue(DEVICE + 1, 0) >>> 0));
    cpu.writeEntry(tables.entryAt(ADDRESS + 0x2000n, 1), 0n);
    expect(cpu.load(ADDRESS + 0x2000n)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    expect(machine.finish()).toEqual([]);
  });

  test("follows the p2m: what was a device becomes memory, and memory a device", () => {
    const machine = withDevice(levels);
    const { cpu, tables, toolstack } = machine;
    const gone = 0x85;
    cpu.writeEntry(tables.entryAt(ADDRESS + 0x2000n, 1), entryOf(gone, KERNEL_PAGE));
    cpu.write(ADDRESS + 0x2000n, 5n);
    toolstack.removePage(gone);
    expect(cpu.read(ADDRESS + 0x2000n)).toBe(BigInt(registerValue(gone, 0) >>> 0));
    expect(machine.count("fault_mmio") + machine.count("fault_fast_mmio")).toBe(1);
    expect(toolstack.addPage(gone)).toBe(true);
    cpu.write(ADDRESS + 0x2000n, 6n);
    expect(cpu.read(ADDRESS + 0x2000n)).toBe(6n);
    expect(machine.finish()).toEqual([]);
  });

  test("has the access tried again when the entry is magic no more", () => {
    const machine = withDevice(levels);
    const { cpu, shadow } = machine;
    cpu.vcpu.faultLow = Number(ADDRESS);
    cpu.vcpu.faultHigh = 0;
    expect(shadow.fastPath.answer(9)).toBe(0);
    cpu.vcpu.faultLow = 0x7000_0000;
    expect(shadow.fastPath.answer(9)).toBe(0);
    expect(machine.count("fault_fast_fail")).toBe(2);
    expect(machine.finish()).toEqual([]);
  });

  test("does not exist when it is switched off, and the guest sees no difference", () => {
    const machine = withDevice(levels, KERNEL_PAGE, { "fast-fault-path": false });
    const { cpu } = machine;
    for (let time = 0; time < 2; time++) {
      expect(cpu.load(ADDRESS + 0x2000n)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
      expect(cpu.read(ADDRESS + 0x1000n)).toBe(BigInt(registerValue(DEVICE, 0) >>> 0));
    }
    expect(machine.count("fault_fast_gnp") + machine.count("fault_fast_mmio")).toBe(0);
    expect([machine.count("fault_mmio"), machine.count("fault_bail_real_fault")]).toEqual([2, 2]);
    expect(machine.finish()).toEqual([]);
  });
});

test.each(FORMATS)(
  "the hole below 1 MiB and the ROM behind it answer as devices do (%i levels)",
  (levels) => {
    const machine = TestMachine.running({ levels });
    for (const gfn of [0xa0, 0xb8, 0xf0]) machine.toolstack.removePage(gfn);
    for (const gfn of [0xa0, 0xb8, 0xf0]) {
      const value = BigInt(registerValue(gfn, 4) >>> 0);
      machine.cpu.write(machine.direct(gfn * 4096 + 4), 1n);
      expect(machine.cpu.read(machine.direct(gfn * 4096 + 4))).toBe(value);
    }
    machine.cpu.write(machine.direct(0x9f * 4096 + 4), 7n);
    expect(machine.cpu.read(machine.direct(0x9f * 4096 + 4))).toBe(7n);
    expect(machine.finish()).toEqual([]);
  },
);

test.each(FORMATS)("a table that lies where there is no memory reads as empty (%i levels)", (levels) => {
  const machine = TestMachine.running({ levels });
  const at = machine.tables.entryAt(ADDRESS, 2);
  machine.tables.entryAt(ADDRESS, 1);
  machine.cpu.write(machine.direct(at), entryOf(0x1ff0, USER_PAGE), entryBytes(levels));
  expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
  expect(machine.finish()).toEqual([]);
});
