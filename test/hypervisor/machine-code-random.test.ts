/** Any instruction does the same to a pagetable, where it is emulated or the page unshadowed, as to any other page. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Status } from "../../src/machine/exits.ts";
import { Register } from "../../src/machine/x86/registers.ts";
import { instructions } from "../machine/x86/assembler.ts";
import type { Assembled } from "../machine/x86/assembler.ts";
import { undefinedFlags } from "../machine/x86/reference.ts";
import type { Operand } from "../machine/x86/reference.ts";
import { ADDRESS, CodeMachine, PAGE, TABLE, WINDOW } from "./code-machine.ts";
import { FORMATS, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";

/** Where the operand lies in its page, behind the entry that keeps the table in use; and how much around it is compared. */
const OPERAND = 64n;
const COMPARED = 128n;
const STACK = WINDOW + 0x1800n;
const STRING = WINDOW + 0x1c00n;
const { rsi, rdi, rsp } = Register;

/** The base register of an instruction whose operand can be put where the test wants it; null for others. */
function baseOf({ described, bits }: Assembled): number | null {
  const { name, operands } = described;
  const memory = operands.find((each) => each.place === "memory");
  // LEA makes no access, and its result is the address.
  if (memory?.place !== "memory" || name === "lea") return null;
  if (name === "stos" || name === "movs") return memory.memory.bits < 32 ? null : rdi;
  const { base, index, isRelative } = memory.memory;
  if (base === null || base === rsp || index !== null || isRelative || memory.memory.bits < 32) return null;
  // Registers that are operands too would hold different addresses, and a bit can be far away.
  const isFarBit = name.startsWith("bt") && operands.some((each) => isRegister(each, rsp));
  const isUsed = isFarBit || operands.some((each) => isRegister(each, base));
  // RAX to RBX have parts in some instructions; of 16-bit code the stack is in the first 64 KiB.
  const isImplied = base < 4 || (bits === 16 && (name === "push" || name === "pop"));
  return isUsed || isImplied ? null : base;
}

function isRegister(operand: Operand, register: number): boolean {
  return operand.place === "register" && operand.register === register;
}

/** A machine, again and again with the same bytes in a page and in a table. */
class Twice {
  readonly machine: CodeMachine;

  constructor(machine: CodeMachine) {
    this.machine = machine;
  }

  /** Executes an instruction with its operand in a page; everything that can be seen afterwards. */
  outcome(assembled: Assembled, small: readonly bigint[], page: bigint): object {
    const { machine } = this;
    const { described, bytes, bits } = assembled;
    const base = baseOf(assembled) ?? rdi;
    const operand = described.operands.find((each) => each.place === "memory");
    const displacement = operand?.place === "memory" ? operand.memory.displacement : 0n;
    const values: Record<number, bigint> = Object.fromEntries(small.entries());
    values[rsp] = STACK;
    if (described.name === "movs") values[rsi] = STRING;
    values[base] = BigInt.asUintN(bits === 64 ? 64 : 32, page + OPERAND - displacement);
    machine.cpu.vcpu.code.registers.flags = 0;
    const status = machine.run([...bytes, 0xf4], values, bits, bytes.length);
    const registers = small.map((_, register) => machine.value(register));
    registers[base] = BigInt.asUintN(64, (registers[base] ?? 0n) - page);
    const ignored = Number(undefinedFlags(described.name));
    return {
      status,
      registers,
      flags: machine.cpu.vcpu.code.registers.flags & ~ignored,
      memory: this.words(page),
      stack: machine.cpu.read(STACK - 8n, 8),
    };
  }

  /** Puts the page's bytes back to what they were, and has the table in use. */
  reset(page: bigint): void {
    const { cpu, levels } = this.machine;
    for (let offset = 0n; offset < COMPARED; offset += 4n)
      cpu.write(
        page + offset,
        offset >= BigInt(entryBytes(levels)) ? (offset * 0x1010_0101n) & 0xffff_fffen : 0n,
      );
    cpu.write(page, entryOf(PAGE, USER_PAGE), entryBytes(levels));
    cpu.write(STACK - 8n, 0x1234n, 8);
    cpu.invlpg(ADDRESS);
    cpu.read(ADDRESS);
  }

  words(page: bigint): bigint[] {
    const words: bigint[] = [];
    for (let offset = 0n; offset < COMPARED; offset += 4n) words.push(this.machine.cpu.read(page + offset));
    return words;
  }
}

test.each(FORMATS)("an instruction of a %i-level guest does the same to a table as to a page", (levels) => {
  const twice = new Twice(new CodeMachine(levels));
  const { machine } = twice;
  const small = fc.array(fc.bigInt({ min: 0n, max: 31n }), { minLength: 16, maxLength: 16 });
  const suitable = instructions().filter(
    (assembled) => baseOf(assembled) !== null && (levels === 4 || assembled.bits !== 64),
  );
  fc.assert(
    fc.property(suitable, small, (assembled, registers) => {
      twice.reset(WINDOW + 0x1000n);
      const plain = twice.outcome(assembled, registers, WINDOW + 0x1000n);
      twice.reset(WINDOW);
      expect(machine.isShadowed).toBe(true);
      expect(twice.outcome(assembled, registers, WINDOW)).toEqual(plain);
      expect(plain).toMatchObject({ status: Status.done });
      expect(machine.findings()).toEqual([]);
    }),
    { numRuns: 120 },
  );
  expect(machine.count("emulated_instructions")).toBeGreaterThan(20);
  expect(machine.count("fault_emulate_failed")).toBeGreaterThan(0);
  expect(machine.frame(TABLE)).toBeGreaterThan(0);
  expect(machine.finish()).toEqual([]);
});
