/** Accesses to two pages of which a device has one, or both. */
import { describe, expect, test } from "vitest";
import { registerValue } from "../../src/hypervisor/device.ts";
import { leafTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { Cr0 } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

/** A page, a device, a page, and two devices. */
const START = 0x1000_0000n;
const PAGE = 0x80;
const DEVICE = 0x8000;
const INTO_DEVICE = START + 0xffdn;
const OUT_OF_DEVICE = START + 0x1ffdn;
const BETWEEN_DEVICES = START + 0x3ffdn;

function withDevices(levels: GuestLevels, flags = USER_PAGE, switches = {}): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, switches });
  for (const [index, gfn] of [PAGE, DEVICE, PAGE + 1, DEVICE + 1, DEVICE + 2].entries())
    machine.tables.map(START + BigInt(index * 4096), gfn, flags);
  for (let word = 0; word < 2048; word++) machine.ram.writeWord(PAGE * 4096 + word * 4, 0x1111_1111);
  for (const cpu of machine.cpus) cpu.boot();
  return machine;
}

function register(gfn: number, offset: number, size: number): bigint {
  const [low, high] = [registerValue(gfn, offset), registerValue(gfn, offset + 4)];
  return BigInt.asUintN(size * 8, BigInt(low >>> 0) | (BigInt(high >>> 0) << 32n));
}

describe.each(FORMATS)("an access of which a device has a part, with %i levels,", (levels) => {
  test.each([true, false])("that loads or fetches puts both parts together (fast path: %s)", (isFast) => {
    const machine = withDevices(levels, USER_PAGE, { "fast-fault-path": isFast });
    const { cpu } = machine;
    for (let time = 0; time < 2; time++) {
      const intoDevice = 0x11_1111n | (register(DEVICE, 0, 5) << 24n);
      expect(cpu.read(INTO_DEVICE, 8)).toBe(intoDevice);
      expect(cpu.vcpu.frame).toBe(machine.frame(PAGE));
      expect(cpu.fetch(INTO_DEVICE, 8)).toMatchObject({ status: Status.done, value: intoDevice });
      expect(cpu.read(OUT_OF_DEVICE, 8)).toBe(register(DEVICE, 0xffd, 3) | (0x11_1111_1111n << 24n));
      expect([cpu.vcpu.frame, cpu.vcpu.deviceFrame]).toEqual([-1, DEVICE]);
      expect(cpu.read(BETWEEN_DEVICES, 4)).toBe(
        register(DEVICE + 1, 0xffd, 3) | (register(DEVICE + 2, 0, 1) << 24n),
      );
      expect([cpu.vcpu.frame, cpu.vcpu.deviceFrame]).toEqual([-1, DEVICE + 1]);
    }
    expect(machine.finish()).toEqual([]);
  });

  test("that stores leaves memory's bytes in memory", () => {
    const machine = withDevices(levels);
    for (let time = 0n; time < 2n; time++) {
      machine.cpu.write(INTO_DEVICE, 0x8877_6655_4433_2211n + time, 8);
      machine.cpu.write(OUT_OF_DEVICE, 0x8877_6655_4433_2211n + (time << 24n), 8);
      expect(machine.ram.readWord(PAGE * 4096 + 0xffc) >>> 8).toBe(0x33_2211 + Number(time));
      expect(machine.ram.readWord((PAGE + 1) * 4096)).toBe(0x7766_5544 + Number(time));
      expect(machine.ram.readWord((PAGE + 1) * 4096 + 4)).toBe(0x1111_1188);
    }
    machine.cpu.write(BETWEEN_DEVICES, 1n, 8);
    expect(machine.count("mmio")).toBe(6);
    expect(machine.finish()).toEqual([]);
  });

  test("that compares and exchanges reads both parts and stores nothing", () => {
    const machine = withDevices(levels);
    const value = 0x11_1111n | (register(DEVICE, 0, 1) << 24n);
    expect(machine.cpu.exchange(INTO_DEVICE, value, 0n)).toMatchObject({
      status: Status.done,
      exchanged: false,
      value,
    });
    expect(machine.ram.readWord(PAGE * 4096 + 0xffc)).toBe(0x1111_1111);
    expect(machine.finish()).toEqual([]);
  });

  test("that may not go to one of the pages touches neither", () => {
    const machine = withDevices(levels);
    const { cpu, tables } = machine;
    cpu.write(INTO_DEVICE, 0n);
    for (const page of [START, START + 0x1000n]) {
      const at = tables.entryAt(page, 1);
      const old = tables.read(at);
      cpu.writeEntry(at, 0n);
      cpu.invlpg(page);
      expect(cpu.store(INTO_DEVICE, 0x5555_5555n)).toMatchObject({
        status: Status.pageFault,
        errorCode: 2,
        cr2: page === START ? INTO_DEVICE : page,
      });
      cpu.writeEntry(at, old);
    }
    expect(machine.ram.readWord(PAGE * 4096 + 0xffc)).toBe(0x11);
    cpu.enterUserMode();
    cpu.write(INTO_DEVICE, 0n);
    expect(machine.count("mmio")).toBe(2);
    expect(machine.finish()).toEqual([]);
  });

  test("of which memory's part is gone from the tables but not from the TLB faults there", () => {
    const machine = withDevices(levels);
    machine.cpu.read(START);
    machine.cpu.writeEntry(machine.tables.entryAt(START, 1), 0n);
    machine.cpu.read(START);
    expect(machine.cpu.load(INTO_DEVICE)).toMatchObject({ status: Status.pageFault, cr2: INTO_DEVICE });
    expect(machine.cpu.load(START).status).toBe(Status.pageFault);
    expect(machine.finish()).toEqual([]);
  });

  test.each([INTO_DEVICE, OUT_OF_DEVICE])(
    "that stores where only CR0.WP = 0 allows it ends (%#)",
    (address) => {
      const machine = withDevices(levels, Bit.p | Bit.u | Bit.a | Bit.d);
      const { cpu } = machine;
      expect(cpu.store(address, 0x4433_2211n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
      cpu.cr0(cpu.register(VcpuCell.cr0) & ~Cr0.wp);
      for (const value of [0x4433_2211n, 0x4433_2212n]) {
        cpu.write(address, value);
        const first = machine.ram.readWord(PAGE * 4096 + 0xffc) >>> 8;
        const second = machine.ram.readWord((PAGE + 1) * 4096) & 0xff;
        expect([first, second]).toEqual(
          address === INTO_DEVICE ? [Number(value & 0xff_ffffn), 0x11] : [0x11_1111, 0x44],
        );
      }
      expect(machine.finish()).toEqual([]);
    },
  );

  test.each([false, true])(
    "that stores to a pagetable stores, and unshadows it (user mode: %s)",
    (isUser) => {
      const machine = withDevices(levels);
      const { tables, cpu } = machine;
      const other = 0x1800_0000n;
      tables.map(other, PAGE + 2, USER_PAGE);
      const table = tables.tableAt(other, 1);
      tables.map(START, table, USER_PAGE);
      cpu.read(other);
      if (isUser) cpu.enterUserMode();
      cpu.write(INTO_DEVICE, 0x4400_0000n);
      expect(machine.shadowOf(table, leafTypeOf(levels))).toBe(0);
      cpu.write(INTO_DEVICE, 0x33_2200n);
      expect(machine.ram.readWord(table * 4096 + 0xffc)).toBe(0x3322_0000);
      cpu.read(other);
      expect(machine.finish()).toEqual([]);
    },
  );

  test("that stores to a root keeps its shadow up to date", () => {
    const machine = withDevices(levels);
    const { tables, cpu } = machine;
    const last = levels === 4 ? 0xffff_ffff_ffff_f000n : 0xffff_f000n;
    tables.map(last, PAGE + 2, KERNEL_PAGE);
    const at = tables.entryAt(last, levels === 3 ? 2 : levels);
    tables.map(START, Math.floor(at / 4096), USER_PAGE);
    cpu.boot();
    cpu.read(last);
    // Another table, or one that lies beyond what addresses can name.
    cpu.write(START + 0xffdn, 0xffn, 8);
    expect(machine.findings()).toEqual([]);
    expect(cpu.load(last)).toMatchObject({ status: Status.pageFault, errorCode: levels === 2 ? 0 : 9 });
    expect(machine.finish()).toEqual([]);
  });
});
