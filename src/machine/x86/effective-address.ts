/** Addresses of operands (SDM vol. 1, 3.7.5). Segments are flat, so an effective address is the linear one. */
import type { Instruction } from "./instruction.ts";
import { Register } from "./registers.ts";
import type { Registers } from "./registers.ts";

const RSP = Register.rsp;

/** Computes addresses; the last one is in the two fields. */
export class EffectiveAddress {
  low = 0;
  high = 0;
  readonly #registers: Registers;

  constructor(registers: Registers) {
    this.#registers = registers;
  }

  /** The address of an instruction's operand in memory. */
  locate(instruction: Instruction): void {
    const { base, index, scale, addressSize } = instruction;
    const registers = this.#registers;
    this.low = instruction.displacementLow;
    this.high = instruction.displacementHigh;
    if (base >= 0) this.#addHalves(registers.lowOf(base, 8), registers.highOf(base, 8));
    if (instruction.isRelative) this.#addHalves(registers.ripLow, registers.ripHigh);
    if (index >= 0) {
      const low = registers.lowOf(index, 8);
      const carried = scale === 0 ? 0 : low >>> (32 - scale);
      this.#addHalves(low << scale, (registers.highOf(index, 8) << scale) | carried);
    }
    this.#cut(addressSize);
  }

  /** The address of POP's operand: RSP counts as it will be. It has not changed when this returns. */
  locateAfterPop(instruction: Instruction, width: number): void {
    const low = this.#registers.lowOf(RSP, 8);
    const high = this.#registers.highOf(RSP, 8);
    this.moveRegister(RSP, width, instruction.size);
    this.locate(instruction);
    this.#registers.assign(RSP, 8, low, high);
  }

  /** The address of the stack's top, so many bytes on. */
  locateStack(width: number, bytes: number): void {
    this.low = this.#registers.lowOf(RSP, 8);
    this.high = this.#registers.highOf(RSP, 8);
    this.moveBy(width, bytes, bytes >> 31);
  }

  /** Moves the address by a distance, within what an address of a size can say. */
  moveBy(addressSize: number, low: number, high: number): void {
    this.#addHalves(low, high);
    this.#cut(addressSize);
  }

  /** Moves the address to the operand that a bit lies in, which is counted from the address on, with a sign. */
  moveToBit(instruction: Instruction, low: number, high: number): void {
    const { size, addressSize } = instruction;
    if (size === 8) {
      this.moveBy(addressSize, ((low >>> 3) | (high << 29)) & -8, high >> 3);
      return;
    }
    const offset = size === 2 ? (low << 16) >> 16 : low;
    const bytes = (offset >> 3) & -size;
    this.moveBy(addressSize, bytes, bytes >> 31);
  }

  /** Adds to a register that holds an address or a count of a size. */
  moveRegister(register: number, addressSize: number, step: number): void {
    const low = this.#registers.lowOf(register, addressSize);
    const high = this.#registers.highOf(register, addressSize);
    const sum = (low >>> 0) + (step >>> 0);
    const carry = sum > 0xffff_ffff ? 1 : 0;
    this.#registers.assign(register, addressSize, sum | 0, (high + (step >> 31) + carry) | 0);
  }

  #addHalves(low: number, high: number): void {
    const sum = (this.low >>> 0) + (low >>> 0);
    this.high = (this.high + high + (sum > 0xffff_ffff ? 1 : 0)) | 0;
    this.low = sum | 0;
  }

  #cut(addressSize: number): void {
    if (addressSize === 8) return;
    this.high = 0;
    if (addressSize === 2) this.low &= 0xffff;
  }
}
