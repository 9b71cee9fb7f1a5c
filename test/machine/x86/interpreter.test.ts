/** Machine code against a plain reference: every instruction, operand, size and mode (SDM vol. 2). */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Status } from "../../../src/machine/exits.ts";
import { Alu } from "../../../src/machine/x86/alu.ts";
import { InstructionFetch } from "../../../src/machine/x86/fetch.ts";
import { Interpreter } from "../../../src/machine/x86/interpreter.ts";
import type { MemoryPort } from "../../../src/machine/x86/memory-port.ts";
import { Registers } from "../../../src/machine/x86/registers.ts";
import { SharedMemory } from "../../../src/memory/shared-memory.ts";
import { instructions } from "./assembler.ts";
import type { Assembled } from "./assembler.ts";
import { execute, undefinedFlags } from "./reference.ts";

const memory = SharedMemory.create(256);
const ALL_FLAGS = 0xcd5n;
const STEPS = 3;

/** Memory in which every byte is something, and what was written to it. */
class Sparse {
  readonly written = new Map<bigint, bigint>();

  read(at: bigint): bigint {
    return this.written.get(at) ?? original(at);
  }

  write(at: bigint, byte: bigint): void {
    this.written.set(at, byte);
  }

  /** Bytes that are no longer what they were, in order. */
  changed(): readonly (readonly [bigint, bigint])[] {
    return [...this.written]
      .filter(([at, byte]) => byte !== original(at))
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
  }
}

/** A port over such memory, with code at one address. Accesses beyond a number of them fault. */
class SparsePort implements MemoryPort {
  resultLow = 0;
  resultHigh = 0;
  accesses = 0;
  atomic = 0;
  allowed = Infinity;
  readonly memory = new Sparse();
  readonly code = new Map<bigint, number>();
  readonly #alu = new Alu();

  fetchUnit(low: number, high: number): number {
    const at = address(low, high);
    let unit = 0n;
    for (let byte = 0n; byte < 8n; byte++)
      unit |= BigInt(this.code.get(BigInt.asUintN(64, at + byte)) ?? 0x06) << (8n * byte);
    return this.#result(unit);
  }

  readMemory(low: number, high: number, size: number): number {
    if (++this.accesses > this.allowed) return Status.pageFault;
    return this.#result(this.#load(address(low, high), size));
  }

  readToWrite(low: number, high: number, size: number): number {
    return this.readMemory(low, high, size);
  }

  writeMemory(low: number, high: number, size: number, valueLow: number, valueHigh: number): number {
    if (++this.accesses > this.allowed) return Status.pageFault;
    this.#put(address(low, high), size, address(valueLow, valueHigh));
    return Status.done;
  }

  #put(at: bigint, size: number, value: bigint): void {
    for (let byte = 0; byte < size; byte++)
      this.memory.write(BigInt.asUintN(64, at + BigInt(byte)), (value >> BigInt(8 * byte)) & 0xffn);
  }

  exchangeMemory(
    low: number,
    high: number,
    size: number,
    expectedLow: number,
    expectedHigh: number,
    valueLow: number,
    valueHigh: number,
  ): number {
    if (++this.accesses > this.allowed) return Status.pageFault;
    this.atomic++;
    const found = this.#load(address(low, high), size);
    if (found === address(expectedLow, expectedHigh))
      this.#put(address(low, high), size, address(valueLow, valueHigh));
    return this.#result(found);
  }

  alterMemory(
    low: number,
    high: number,
    size: number,
    operation: number,
    valueLow: number,
    valueHigh: number,
    flags: number,
  ): number {
    if (++this.accesses > this.allowed) return Status.pageFault;
    this.atomic++;
    const found = this.#load(address(low, high), size);
    this.#result(found);
    this.#alu.compute(operation, size, this.resultLow, this.resultHigh, valueLow, valueHigh, flags);
    this.#put(address(low, high), size, address(this.#alu.low, this.#alu.high));
    return this.#result(found);
  }

  #load(at: bigint, size: number): bigint {
    let value = 0n;
    for (let byte = 0; byte < size; byte++)
      value |= this.memory.read(BigInt.asUintN(64, at + BigInt(byte))) << BigInt(8 * byte);
    return value;
  }

  #result(value: bigint): number {
    this.resultLow = Number(BigInt.asIntN(32, value));
    this.resultHigh = Number(BigInt.asIntN(32, value >> 32n));
    return Status.done;
  }
}

interface Start {
  readonly registers: readonly bigint[];
  readonly flags: number;
  readonly rip: bigint;
}

const values = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: 3n }),
  fc.constantFrom(0x7fff_ffff_ffff_ffffn, 0x8000_0000n, 0xffff_ffff_ffff_ffffn),
);
const starts: fc.Arbitrary<Start> = fc.record({
  registers: fc.array(values, { minLength: 16, maxLength: 16 }),
  flags: fc.nat(0xfff).map((bits) => bits & Number(ALL_FLAGS)),
  rip: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});

interface State {
  readonly registers: readonly bigint[];
  readonly rip: bigint;
  readonly flags: bigint;
  readonly changed: readonly (readonly [bigint, bigint])[];
}

/** The subject with an instruction at RIP. */
class Subject {
  readonly port = new SparsePort();
  readonly registers = new Registers(memory, 0);
  readonly #fetch = new InstructionFetch(this.registers, this.port);
  readonly #interpreter = new Interpreter(this.registers, this.port);

  constructor({ bytes, bits }: Assembled, { registers, flags, rip }: Start) {
    for (const [number, value] of registers.entries())
      this.registers.assign(number, 8, half(value), half(value >> 32n));
    this.registers.flags = flags;
    this.registers.codeBits = bits;
    this.registers.jumpTo(half(rip), half(rip >> 32n));
    for (const [index, byte] of bytes.entries())
      this.port.code.set(BigInt.asUintN(64, rip + BigInt(index)), byte);
  }

  /** Executes the instruction at RIP; its `Status`. */
  step(): number {
    const status = this.#fetch.fetchInstruction();
    return status === Status.done ? this.#interpreter.executeInstruction(this.#fetch.instruction) : status;
  }

  state(): State {
    const { registers } = this;
    return {
      registers: Array.from({ length: 16 }, (_, number) =>
        address(registers.lowOf(number, 8), registers.highOf(number, 8)),
      ),
      rip: address(registers.ripLow, registers.ripHigh),
      flags: BigInt(registers.flags),
      changed: this.port.memory.changed(),
    };
  }
}

/** RIP is where an address of code can be, and as far from its end as the instruction is long. */
function placed({ bits, bytes }: Assembled, start: Start): Start {
  const rip = BigInt.asUintN(bits, start.rip);
  return { ...start, rip: rip + BigInt(bytes.length) > 2n ** BigInt(bits) ? 0x100n : rip };
}

/** What is done to the subject behind its back. */
type Tampering = (subject: Subject) => void;

/** Executes the same on both and compares everything that is defined. */
function compare(assembled: Assembled, anywhere: Start, tamper: Tampering = () => {}): void {
  const { described, bytes, bits } = assembled;
  const start = placed(assembled, anywhere);
  const subject = new Subject(assembled, start);
  const sparse = new Sparse();
  const machine = {
    registers: [...start.registers],
    rip: start.rip,
    flags: BigInt(start.flags) | 2n,
    read: (at: bigint): bigint => sparse.read(at),
    write: (at: bigint, byte: bigint): void => sparse.write(at, byte),
  };
  for (let step = 0; step < STEPS && machine.rip === start.rip; step++) {
    execute(machine, described, bytes.length, bits);
    expect(subject.step()).toBe(Status.done);
  }
  tamper(subject);
  const flags = (value: bigint): bigint => value & ~undefinedFlags(described.name);
  const found = subject.state();
  expect({ ...found, flags: flags(found.flags) }).toEqual({
    registers: machine.registers,
    rip: machine.rip,
    flags: flags(machine.flags),
    changed: sparse.changed(),
  });
  const isExchange = described.name === "xchg" && described.operands[0]?.place === "memory";
  expect(subject.port.atomic).toBe(described.isLocked || isExchange ? 1 : 0);
}

test("instructions do what the SDM says, in 16-, 32- and 64-bit code", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(instructions(), starts, (assembled, start) => {
      compare(assembled, start);
      seen.add(assembled.described.name);
    }),
    { numRuns: 6000 },
  );
  expect(seen.size).toBe(31);
});

test.each<{ what: string; tamper: Tampering }>([
  { what: "a wrong flag", tamper: ({ registers }) => (registers.flags ^= 64) },
  {
    what: "a wrong register",
    tamper: ({ registers }) => registers.assign(3, 1, registers.lowOf(3, 1) ^ 1, 0),
  },
  { what: "a wrong RIP", tamper: ({ registers }) => registers.moveRip(1, 0, 4) },
  { what: "a byte too many", tamper: ({ port }) => port.memory.write(5n, port.memory.read(5n) ^ 1n) },
  { what: "an access that is not atomic", tamper: ({ port }) => (port.atomic = 0) },
])("the comparison sees $what", ({ tamper }) => {
  const property = fc.property(instructions(), starts, (assembled, start) =>
    compare(assembled, start, tamper),
  );
  expect(fc.check(property, { numRuns: 500, endOnFailure: true }).failed).toBe(true);
});

test("a fault at any access leaves every register as it was", () => {
  fc.assert(
    fc.property(instructions(), starts, (assembled, anywhere) => {
      const start = placed(assembled, anywhere);
      const whole = new Subject(assembled, start);
      whole.step();
      for (let allowed = 0; allowed < whole.port.accesses; allowed++) {
        const subject = new Subject(assembled, start);
        const before = subject.state();
        subject.port.allowed = allowed;
        expect(subject.step()).toBe(Status.pageFault);
        expect(subject.state()).toEqual(before);
      }
    }),
    { numRuns: 1000 },
  );
});

function original(at: bigint): bigint {
  return ((at * 0x9e37_79b1n) >> 7n) & 0xffn;
}

function half(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

function address(low: number, high: number): bigint {
  return BigInt(low >>> 0) | (BigInt(high >>> 0) << 32n);
}
