/** The emulator stays in control after a PAE kernel's store to a pagetable, for the other half of the entry (spec 5.6). */
import { describe, expect, test } from "vitest";
import { Status } from "../../src/machine/exits.ts";
import { Processor } from "../../src/machine/x86/processor.ts";
import { Register } from "../../src/machine/x86/registers.ts";
import { KERNEL_PAGE, USER_PAGE, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine, low } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const WINDOW = 0x2000_0000n;
const DATA = 0x2100_0000n;
const REGISTERS = 0x3000_0000n;
const TABLE = 0x90;
const PAGE = 0x80;
const DEVICE = 0x300;

function withTable(switches = {}, levels: GuestLevels = 3): TestMachine {
  const machine = new TestMachine({
    levels,
    vcpus: 2,
    switches: { prefetch: false, "emulate-ahead": true, ...switches },
  });
  const { tables } = machine;
  tables.link(ADDRESS, 2, TABLE);
  tables.write(TABLE * 4096, entryOf(PAGE, USER_PAGE));
  tables.map(WINDOW, TABLE, KERNEL_PAGE);
  tables.map(DATA, PAGE + 6, KERNEL_PAGE);
  tables.map(REGISTERS, DEVICE, KERNEL_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  machine.cpu.write(machine.direct((PAGE + 1) * 4096), 0x101n);
  machine.cpu.read(ADDRESS);
  machine.cpu.read(DATA);
  return machine;
}

/** What the counters say of emulate-ahead. */
function outcome(machine: TestMachine): { found: number; others: number; ended: number } {
  return {
    found: machine.count("em_ex_pt"),
    others: machine.count("em_ex_non_pt"),
    ended: machine.count("em_ex_fail"),
  };
}

const MODES = [
  ["with the lock", {}],
  ["without it", { "unlocked-emulation": true, "fast-emulate": true, "translation-cache": true }],
] as const;

describe.each(MODES)("emulate-ahead, %s,", (_, mode) => {
  const entry = entryOf(PAGE + 1, USER_PAGE);
  const halves = (machine: TestMachine): void => {
    machine.cpu.write(WINDOW + 4n, entry >> 32n);
    machine.cpu.write(WINDOW, BigInt(low(entry)));
  };

  test("executes the second half of an entry without an exit", () => {
    const machine = withTable(mode);
    expect(machine.countWhile("exits", () => halves(machine))).toBe(1);
    expect(outcome(machine)).toEqual({ found: 1, others: 0, ended: 0 });
    machine.cpu.invlpg(ADDRESS);
    expect(machine.cpu.read(ADDRESS)).toBe(0x101n);
    const without = withTable({ ...mode, "emulate-ahead": false });
    expect(without.countWhile("exits", () => halves(without))).toBe(2);
    expect([...machine.finish(), ...without.finish()]).toEqual([]);
  });

  test("goes on over up to four other operations, and stops behind them", () => {
    const machine = withTable(mode);
    const { cpu } = machine;
    for (const between of [3, 4]) {
      cpu.write(WINDOW + 4n, 0n);
      const seen: bigint[] = [];
      for (let value = 1n; value <= BigInt(between); value++) {
        if (value % 2n === 0n) seen.push(cpu.read(DATA));
        else cpu.write(DATA, value);
      }
      expect(seen).toEqual([1n, 3n].slice(0, between >>> 1));
      cpu.write(WINDOW, BigInt(low(entry)));
      cpu.invlpg(ADDRESS);
    }
    // The second time the last half costs an exit, behind which INVLPG finds the emulator waiting for more.
    expect(outcome(machine)).toEqual({ found: 1, others: 7, ended: 1 });
    expect(machine.finish()).toEqual([]);
  });

  test.each([
    ["INVLPG", (machine: TestMachine) => machine.cpu.invlpg(DATA)],
    ["MOV CR3", (machine: TestMachine) => machine.cpu.cr3(machine.tables.cr3)],
    ["a device", (machine: TestMachine) => machine.cpu.load(REGISTERS)],
    [
      "user mode",
      (machine: TestMachine) => {
        machine.cpu.enterUserMode();
        machine.cpu.read(ADDRESS);
        machine.cpu.enterKernelMode();
      },
    ],
    [
      "a fault of the guest's own",
      (machine: TestMachine) => {
        expect(machine.cpu.load(ADDRESS + 0x9000n)).toMatchObject({
          status: Status.pageFault,
          errorCode: 0,
          cr2: ADDRESS + 0x9000n,
        });
      },
    ],
  ])("is over at %s, which the guest executes itself", (_name, act) => {
    const machine = withTable(mode);
    machine.cpu.write(WINDOW + 4n, 0n);
    act(machine);
    expect(outcome(machine)).toEqual({ found: 0, others: 0, ended: 1 });
    expect(machine.cpu.vcpu.aheadLeft).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("serves flushes and acknowledges them between two operations, as ever", () => {
    const machine = withTable(mode);
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    cpu.write(WINDOW + 4n, 0n);
    other.write(machine.direct(machine.tables.entryAt(ADDRESS, 2)), 0n, 8);
    cpu.write(WINDOW, BigInt(low(entry)));
    // The table is none any more: the other vCPU has cut it off.
    expect(outcome(machine)).toEqual({ found: 0, others: 1, ended: 0 });
    cpu.invlpg(ADDRESS);
    expect(cpu.load(ADDRESS).status).toBe(Status.pageFault);
    expect(machine.finish()).toEqual([]);
  });
});

/** mov [edi+4], edx; then some inc ecx; then mov [edi], eax. */
function halvesWith(between: number): number[] {
  const increments = Array.from({ length: between }, () => 0x41);
  return [0x89, 0x57, 0x04, ...increments, 0x89, 0x07];
}

describe.each(MODES)("emulate-ahead of machine code, %s,", (_, mode) => {
  const CODE = 0x3100_0000n;
  const { rax, rdx, rsi, rdi } = Register;

  /** Executes code with an entry in EDX:EAX, the window in EDI and an unmapped address in ESI. */
  function execute(machine: TestMachine, bytes: readonly number[]): number {
    for (const [index, byte] of bytes.entries()) machine.cpu.write(CODE + BigInt(index), BigInt(byte), 1);
    const { registers } = machine.cpu.vcpu.code;
    registers.codeBits = 32;
    registers.jumpTo(low(CODE), 0);
    const values = [
      [rax, entryOf(PAGE + 1, USER_PAGE)],
      [rdx, 0n],
      [rdi, WINDOW],
      [rsi, ADDRESS + 0x9000n],
    ] as const;
    for (const [register, value] of values) registers.assign(register, 4, low(value), 0);
    const processor = new Processor(machine.cpu.vcpu);
    while (registers.ripLow !== low(CODE) + bytes.length) {
      const status = processor.executeNext();
      if (status !== Status.done && status !== Status.resumed) return status;
    }
    return Status.done;
  }

  function withCode(switches = {}): TestMachine {
    const machine = withTable({ ...mode, ...switches });
    machine.cpu.writeEntry(machine.tables.entryAt(CODE, 1), entryOf(PAGE + 7, KERNEL_PAGE));
    machine.cpu.invlpg(CODE);
    return machine;
  }

  test.each([
    [0, { found: 1, others: 0, ended: 0 }],
    [3, { found: 1, others: 3, ended: 0 }],
  ])("finds the other half behind %i instructions", (between, expected) => {
    const machine = withCode();
    const before = outcome(machine);
    expect(execute(machine, halvesWith(between))).toBe(Status.done);
    const after = outcome(machine);
    expect({
      found: after.found - before.found,
      others: after.others - before.others,
      ended: after.ended - before.ended,
    }).toEqual(expected);
    machine.cpu.invlpg(ADDRESS);
    expect(machine.cpu.read(ADDRESS)).toBe(0x101n);
    expect(machine.finish()).toEqual([]);
  });

  test("ends at an instruction that faults, at which the guest resumes; nothing is unshadowed", () => {
    const machine = withCode();
    const faulting = [0x89, 0x57, 0x04, 0x8b, 0x06];
    const before = machine.count("unshadow");
    expect(execute(machine, faulting)).toBe(Status.pageFault);
    expect(machine.cpu.vcpu.code.registers.ripLow).toBe(low(CODE) + 3);
    expect(machine.count("em_ex_fail")).toBeGreaterThan(0);
    expect(machine.count("unshadow")).toBe(before);
    expect(machine.finish()).toEqual([]);
  });
});

test.each([2, 4] as const)("a %i-level guest writes entries in one go: it is left alone", (levels) => {
  const machine = withTable({}, levels);
  machine.cpu.write(WINDOW, 0n, levels === 2 ? 4 : 8);
  machine.cpu.read(DATA);
  expect(machine.count("emulated_stores")).toBe(1);
  expect(outcome(machine)).toEqual({ found: 0, others: 0, ended: 0 });
});
