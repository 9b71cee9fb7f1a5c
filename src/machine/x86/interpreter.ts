/**
 * Executes one decoded instruction on a port. Registers, flags and RIP change when all of its memory accesses have been
 * made and not before, so a fault leaves the vCPU as it was in front of the instruction (SDM vol. 3, 6.5). Of a
 * repeated string instruction it executes one iteration: RIP moves on with the last.
 */
import { Status } from "../exits.ts";
import { Alu, AluOperation, holds } from "./alu.ts";
import { EffectiveAddress } from "./effective-address.ts";
import { ExchangeInstructions } from "./exchange-instructions.ts";
import { InstructionKind, NONE, OperandPlace } from "./instruction.ts";
import type { Instruction } from "./instruction.ts";
import type { MemoryPort } from "./memory-port.ts";
import { Flag, Register } from "./registers.ts";
import type { Registers } from "./registers.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const DONE = Status.done;
const UNKNOWN = Status.invalidOpcode;
const IS_REGISTER = OperandPlace.register;
const IS_MEMORY = OperandPlace.memory;
const { rax: RAX, rcx: RCX, rdi: RDI, rsi: RSI, rsp: RSP } = Register;
const DIRECTION = Flag.direction;

/** The interpreter of one vCPU on one port. */
export class Interpreter {
  readonly #registers: Registers;
  readonly #port: MemoryPort;
  readonly #address: EffectiveAddress;
  readonly #alu = new Alu();
  readonly #exchanges: ExchangeInstructions;
  /** The operand last read. */
  #low = 0;
  #high = 0;

  constructor(registers: Registers, port: MemoryPort) {
    this.#registers = registers;
    this.#port = port;
    this.#address = new EffectiveAddress(registers);
    this.#exchanges = new ExchangeInstructions(registers, port);
  }

  /** Executes an instruction at RIP. Returns a `Status`; unless it is `done`, no register has changed. */
  executeInstruction(instruction: Instruction): number {
    switch (instruction.kind) {
      case InstructionKind.nothing:
        return this.#goOn(instruction);
      case InstructionKind.move:
      case InstructionKind.moveZeroExtended:
        return this.#move(instruction);
      case InstructionKind.moveSignExtended:
        return this.#moveSignExtended(instruction);
      case InstructionKind.loadAddress:
        this.#address.locate(instruction);
        this.#registers.assign(
          instruction.firstRegister,
          instruction.size,
          this.#address.low,
          this.#address.high,
        );
        return this.#goOn(instruction);
      case InstructionKind.alter:
        return this.#alter(instruction);
      case InstructionKind.compare:
        return this.#compare(instruction);
      case InstructionKind.exchange:
        return this.#exchanges.exchangeOperands(instruction);
      case InstructionKind.exchangeAdd:
        return this.#exchanges.exchangeAndAdd(instruction);
      case InstructionKind.compareExchange:
        return this.#exchanges.compareAndExchange(instruction);
      case InstructionKind.compareExchange8Bytes:
        return this.#exchanges.compareAndExchange8Bytes(instruction);
      case InstructionKind.storeString:
      case InstructionKind.moveString:
        return this.#string(instruction);
      case InstructionKind.push:
        return this.#push(instruction);
      case InstructionKind.pop:
        return this.#pop(instruction);
      case InstructionKind.jump:
        return this.#jump(instruction);
      default:
        return UNKNOWN;
    }
  }

  #goOn(instruction: Instruction): number {
    this.#registers.passOver(instruction.length);
    return DONE;
  }

  #jump(instruction: Instruction): number {
    const registers = this.#registers;
    if (instruction.condition !== NONE && !holds(instruction.condition, registers.flags))
      return this.#goOn(instruction);
    registers.moveRip(instruction.immediateLow, instruction.immediateHigh, instruction.size);
    return DONE;
  }

  /** Reads the second operand. */
  #readSource(instruction: Instruction, size: number): number {
    if (instruction.second === IS_REGISTER) {
      this.#low = this.#registers.lowOf(instruction.secondRegister, size);
      this.#high = this.#registers.highOf(instruction.secondRegister, size);
    } else if (instruction.second === IS_MEMORY) {
      this.#address.locate(instruction);
      const status = this.#port.readMemory(this.#address.low, this.#address.high, size);
      if (status !== DONE) return status;
      this.#low = this.#port.resultLow;
      this.#high = this.#port.resultHigh;
    } else this.#readImmediate(instruction, size);
    return DONE;
  }

  #readImmediate(instruction: Instruction, size: number): void {
    const low = instruction.immediateLow;
    this.#low = size === 1 ? low & 0xff : size === 2 ? low & 0xffff : low;
    this.#high = size === 8 ? instruction.immediateHigh : 0;
  }

  #move(instruction: Instruction): number {
    const { size } = instruction;
    const isExtended = instruction.kind === InstructionKind.moveZeroExtended;
    const status = this.#readSource(instruction, isExtended ? instruction.sourceSize : size);
    if (status !== DONE) return status;
    if (instruction.first === IS_REGISTER) {
      this.#registers.assign(instruction.firstRegister, size, this.#low, this.#high);
      return this.#goOn(instruction);
    }
    this.#address.locate(instruction);
    return this.#write(instruction, this.#low, this.#high);
  }

  /** Writes to where the instruction's memory operand was located, as its last access. */
  #write(instruction: Instruction, low: number, high: number): number {
    const { low: addressLow, high: addressHigh } = this.#address;
    const status = this.#port.writeMemory(addressLow, addressHigh, instruction.size, low, high);
    return status === DONE ? this.#goOn(instruction) : status;
  }

  #moveSignExtended(instruction: Instruction): number {
    const { size, sourceSize } = instruction;
    const status = this.#readSource(instruction, sourceSize);
    if (status !== DONE) return status;
    const unused = sourceSize === 1 ? 24 : sourceSize === 2 ? 16 : 0;
    const low = (this.#low << unused) >> unused;
    this.#registers.assign(instruction.firstRegister, size, low, low >> 31);
    return this.#goOn(instruction);
  }

  #alter(instruction: Instruction): number {
    const { size, operation } = instruction;
    const registers = this.#registers;
    if (instruction.first === IS_REGISTER) return this.#alterRegister(instruction);
    // A second operand is no memory then, so this reads no other.
    this.#readSource(instruction, size);
    const bLow = this.#low;
    const bHigh = this.#high;
    this.#address.locate(instruction);
    if (operation >= AluOperation.bitTest && instruction.second === IS_REGISTER)
      this.#address.moveToBit(instruction, bLow, bHigh);
    const { low, high } = this.#address;
    if (!instruction.isLocked) {
      const status = this.#port.readToWrite(low, high, size);
      if (status !== DONE) return status;
      this.#compute(operation, size, this.#port.resultLow, this.#port.resultHigh, bLow, bHigh);
      const { low: resultLow, high: resultHigh, flags } = this.#alu;
      const written = this.#write(instruction, resultLow, resultHigh);
      if (written === DONE) registers.flags = flags;
      return written;
    }
    const status = this.#port.alterMemory(low, high, size, operation, bLow, bHigh, registers.flags);
    if (status !== DONE) return status;
    this.#compute(operation, size, this.#port.resultLow, this.#port.resultHigh, bLow, bHigh);
    registers.flags = this.#alu.flags;
    return this.#goOn(instruction);
  }

  /** The first operand is a register; the second may be memory. */
  #alterRegister(instruction: Instruction): number {
    const { size, firstRegister, operation } = instruction;
    const registers = this.#registers;
    const status = this.#readSource(instruction, size);
    if (status !== DONE) return status;
    const low = registers.lowOf(firstRegister, size);
    this.#compute(operation, size, low, registers.highOf(firstRegister, size), this.#low, this.#high);
    registers.assign(firstRegister, size, this.#alu.low, this.#alu.high);
    registers.flags = this.#alu.flags;
    return this.#goOn(instruction);
  }

  #compute(operation: number, size: number, aLow: number, aHigh: number, bLow: number, bHigh: number): void {
    this.#alu.compute(operation, size, aLow, aHigh, bLow, bHigh, this.#registers.flags);
  }

  #compare(instruction: Instruction): number {
    const { size, operation, firstRegister } = instruction;
    const registers = this.#registers;
    const status = this.#readSource(instruction, size);
    if (status !== DONE) return status;
    const bLow = this.#low;
    const bHigh = this.#high;
    let aLow = registers.lowOf(firstRegister, size);
    let aHigh = registers.highOf(firstRegister, size);
    if (instruction.first === IS_MEMORY) {
      this.#address.locate(instruction);
      if (operation === AluOperation.bitTest && instruction.second === IS_REGISTER)
        this.#address.moveToBit(instruction, bLow, bHigh);
      const read = this.#port.readMemory(this.#address.low, this.#address.high, size);
      if (read !== DONE) return read;
      aLow = this.#port.resultLow;
      aHigh = this.#port.resultHigh;
    }
    this.#compute(operation, size, aLow, aHigh, bLow, bHigh);
    registers.flags = this.#alu.flags;
    return this.#goOn(instruction);
  }

  /** One iteration of STOS or MOVS. */
  #string(instruction: Instruction): number {
    const { size, addressSize, isRepeated } = instruction;
    const registers = this.#registers;
    const port = this.#port;
    const address = this.#address;
    if (isRepeated && (registers.lowOf(RCX, addressSize) | registers.highOf(RCX, addressSize)) === 0)
      return this.#goOn(instruction);
    const isCopy = instruction.kind === InstructionKind.moveString;
    this.#low = registers.lowOf(RAX, size);
    this.#high = registers.highOf(RAX, size);
    if (isCopy) {
      const read = port.readMemory(
        registers.lowOf(RSI, addressSize),
        registers.highOf(RSI, addressSize),
        size,
      );
      if (read !== DONE) return read;
      this.#low = port.resultLow;
      this.#high = port.resultHigh;
    }
    const low = registers.lowOf(RDI, addressSize);
    const status = port.writeMemory(low, registers.highOf(RDI, addressSize), size, this.#low, this.#high);
    if (status !== DONE) return status;
    const step = (registers.flags & DIRECTION) === 0 ? size : -size;
    if (isCopy) address.moveRegister(RSI, addressSize, step);
    address.moveRegister(RDI, addressSize, step);
    if (!isRepeated) return this.#goOn(instruction);
    address.moveRegister(RCX, addressSize, -1);
    const isLast = (registers.lowOf(RCX, addressSize) | registers.highOf(RCX, addressSize)) === 0;
    return isLast ? this.#goOn(instruction) : DONE;
  }

  #push(instruction: Instruction): number {
    const { size } = instruction;
    const status = this.#readPushed(instruction);
    if (status !== DONE) return status;
    const width = this.#registers.codeBits >>> 3;
    this.#address.locateStack(width, -size);
    const written = this.#port.writeMemory(
      this.#address.low,
      this.#address.high,
      size,
      this.#low,
      this.#high,
    );
    if (written !== DONE) return written;
    this.#address.moveRegister(RSP, width, -size);
    return this.#goOn(instruction);
  }

  #readPushed(instruction: Instruction): number {
    const { size, first, firstRegister } = instruction;
    if (first === IS_REGISTER) {
      this.#low = this.#registers.lowOf(firstRegister, size);
      this.#high = this.#registers.highOf(firstRegister, size);
    } else if (first === IS_MEMORY) {
      this.#address.locate(instruction);
      const status = this.#port.readMemory(this.#address.low, this.#address.high, size);
      this.#low = this.#port.resultLow;
      this.#high = this.#port.resultHigh;
      return status;
    } else this.#readImmediate(instruction, size);
    return DONE;
  }

  /** A destination that RSP addresses lies where it points after the pop. */
  #pop(instruction: Instruction): number {
    const { size, firstRegister } = instruction;
    const width = this.#registers.codeBits >>> 3;
    this.#address.locateStack(width, 0);
    const status = this.#port.readMemory(this.#address.low, this.#address.high, size);
    if (status !== DONE) return status;
    this.#low = this.#port.resultLow;
    this.#high = this.#port.resultHigh;
    if (instruction.first === IS_MEMORY) {
      this.#address.locateAfterPop(instruction, width);
      const { low, high } = this.#address;
      const written = this.#port.writeMemory(low, high, size, this.#low, this.#high);
      if (written !== DONE) return written;
    }
    this.#address.moveRegister(RSP, width, size);
    if (instruction.first === IS_REGISTER) this.#registers.assign(firstRegister, size, this.#low, this.#high);
    return this.#goOn(instruction);
  }
}
