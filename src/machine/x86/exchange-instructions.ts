/**
 * The instructions that exchange: XCHG, XADD, CMPXCHG, CMPXCHG8B. With LOCK they are one atomic access, without it a load
 * and a store; XCHG with memory is always locked.
 */
import { Status } from "../exits.ts";
import { Alu, AluOperation } from "./alu.ts";
import { EffectiveAddress } from "./effective-address.ts";
import { OperandPlace } from "./instruction.ts";
import type { Instruction } from "./instruction.ts";
import type { MemoryPort } from "./memory-port.ts";
import { Flag, Register } from "./registers.ts";
import type { Registers } from "./registers.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const DONE = Status.done;
const ADD = AluOperation.add;
const EXCHANGE = AluOperation.exchange;
const SUBTRACT = AluOperation.subtract;
const IS_REGISTER = OperandPlace.register;
const IS_MEMORY = OperandPlace.memory;
const { rax: RAX, rbx: RBX, rcx: RCX, rdx: RDX } = Register;
const ZERO = Flag.zero;

/** Executes them, for the interpreter. Returns a `Status`; unless it is `done`, no register has changed. */
export class ExchangeInstructions {
  readonly #registers: Registers;
  readonly #port: MemoryPort;
  readonly #address: EffectiveAddress;
  readonly #alu = new Alu();
  /** What the first operand held. */
  #low = 0;
  #high = 0;

  constructor(registers: Registers, port: MemoryPort) {
    this.#registers = registers;
    this.#port = port;
    this.#address = new EffectiveAddress(registers);
  }

  /** XCHG with memory is locked, prefix or not (SDM vol. 3, 8.1.2.1). */
  exchangeOperands(instruction: Instruction): number {
    const { size, firstRegister, secondRegister } = instruction;
    const registers = this.#registers;
    const low = registers.lowOf(secondRegister, size);
    const high = registers.highOf(secondRegister, size);
    if (instruction.first === IS_REGISTER) {
      this.#low = registers.lowOf(firstRegister, size);
      this.#high = registers.highOf(firstRegister, size);
      registers.assign(firstRegister, size, low, high);
    } else {
      this.#address.locate(instruction);
      const { low: addressLow, high: addressHigh } = this.#address;
      const status = this.#port.alterMemory(addressLow, addressHigh, size, EXCHANGE, low, high, 0);
      if (status !== DONE) return status;
      this.#low = this.#port.resultLow;
      this.#high = this.#port.resultHigh;
    }
    registers.assign(secondRegister, size, this.#low, this.#high);
    registers.passOver(instruction.length);
    return DONE;
  }

  /** XADD. */
  exchangeAndAdd(instruction: Instruction): number {
    const { size, firstRegister, secondRegister, isLocked } = instruction;
    const registers = this.#registers;
    const bLow = registers.lowOf(secondRegister, size);
    const bHigh = registers.highOf(secondRegister, size);
    let aLow = registers.lowOf(firstRegister, size);
    let aHigh = registers.highOf(firstRegister, size);
    if (instruction.first === IS_MEMORY) {
      this.#address.locate(instruction);
      const { low, high } = this.#address;
      const status = isLocked
        ? this.#port.alterMemory(low, high, size, ADD, bLow, bHigh, registers.flags)
        : this.#port.readToWrite(low, high, size);
      if (status !== DONE) return status;
      aLow = this.#port.resultLow;
      aHigh = this.#port.resultHigh;
    }
    this.#compute(ADD, size, aLow, aHigh, bLow, bHigh);
    const { low, high, flags } = this.#alu;
    if (instruction.first === IS_MEMORY && !isLocked) {
      const status = this.#port.writeMemory(this.#address.low, this.#address.high, size, low, high);
      if (status !== DONE) return status;
    }
    registers.assign(secondRegister, size, aLow, aHigh);
    if (instruction.first === IS_REGISTER) registers.assign(firstRegister, size, low, high);
    registers.flags = flags;
    registers.passOver(instruction.length);
    return DONE;
  }

  /** CMPXCHG: what memory held is compared with RAX, and ends up there if it differs. */
  compareAndExchange(instruction: Instruction): number {
    const { size, firstRegister, secondRegister } = instruction;
    const registers = this.#registers;
    const newLow = registers.lowOf(secondRegister, size);
    const newHigh = registers.highOf(secondRegister, size);
    const oldLow = registers.lowOf(RAX, size);
    const oldHigh = registers.highOf(RAX, size);
    if (instruction.first === IS_REGISTER) {
      this.#low = registers.lowOf(firstRegister, size);
      this.#high = registers.highOf(firstRegister, size);
    } else {
      const status = this.#compareExchangeMemory(instruction, oldLow, oldHigh, newLow, newHigh);
      if (status !== DONE) return status;
    }
    this.#compute(SUBTRACT, size, oldLow, oldHigh, this.#low, this.#high);
    registers.flags = this.#alu.flags;
    const isEqual = (this.#alu.flags & ZERO) !== 0;
    if (instruction.first === IS_REGISTER)
      registers.assign(firstRegister, size, isEqual ? newLow : this.#low, isEqual ? newHigh : this.#high);
    if (!isEqual) registers.assign(RAX, size, this.#low, this.#high);
    registers.passOver(instruction.length);
    return DONE;
  }

  /** Leaves what memory held as the operand. Without LOCK it is a load and a store, which there is even if they differ. */
  #compareExchangeMemory(
    instruction: Instruction,
    oldLow: number,
    oldHigh: number,
    newLow: number,
    newHigh: number,
  ): number {
    const { size } = instruction;
    this.#address.locate(instruction);
    const port = this.#port;
    const { low, high } = this.#address;
    const status = instruction.isLocked
      ? port.exchangeMemory(low, high, size, oldLow, oldHigh, newLow, newHigh)
      : port.readToWrite(low, high, size);
    if (status !== DONE) return status;
    this.#low = port.resultLow;
    this.#high = port.resultHigh;
    if (instruction.isLocked) return DONE;
    const isEqual = this.#low === oldLow && this.#high === oldHigh;
    return port.writeMemory(low, high, size, isEqual ? newLow : this.#low, isEqual ? newHigh : this.#high);
  }

  /** CMPXCHG8B: ECX:EBX in place of EDX:EAX. */
  compareAndExchange8Bytes(instruction: Instruction): number {
    const registers = this.#registers;
    const oldLow = registers.lowOf(RAX, 4);
    const oldHigh = registers.lowOf(RDX, 4);
    const newLow = registers.lowOf(RBX, 4);
    const newHigh = registers.lowOf(RCX, 4);
    const status = this.#compareExchangeMemory(instruction, oldLow, oldHigh, newLow, newHigh);
    if (status !== DONE) return status;
    if (this.#low === oldLow && this.#high === oldHigh) registers.flags |= ZERO;
    else {
      registers.flags &= ~ZERO;
      registers.assign(RAX, 4, this.#low, 0);
      registers.assign(RDX, 4, this.#high, 0);
    }
    registers.passOver(instruction.length);
    return DONE;
  }

  #compute(operation: number, size: number, aLow: number, aHigh: number, bLow: number, bHigh: number): void {
    this.#alu.compute(operation, size, aLow, aHigh, bLow, bHigh, this.#registers.flags);
  }
}
