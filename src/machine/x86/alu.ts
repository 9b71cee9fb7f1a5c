/**
 * Integer arithmetic of 1, 2, 4 and 8 bytes with its flags (SDM vol. 1, appendix A, and the instructions in vol. 2). Values
 * are two int32 halves. What the SDM leaves undefined is as the operand left it.
 */
import { Flag } from "./registers.ts";

/** What is computed of an operand a and an operand b. */
export const AluOperation = {
  add: 0,
  or: 1,
  addWithCarry: 2,
  subtractWithBorrow: 3,
  and: 4,
  subtract: 5,
  xor: 6,
  increment: 7,
  decrement: 8,
  negate: 9,
  not: 10,
  /** The result is b. */
  exchange: 11,
  bitTest: 12,
  bitSet: 13,
  bitReset: 14,
  bitComplement: 15,
} as const;

const { add: ADD, or: OR, addWithCarry: ADC, subtractWithBorrow: SBB, and: AND } = AluOperation;
const { subtract: SUB, xor: XOR, increment: INC, decrement: DEC, negate: NEG, not: NOT } = AluOperation;
const { exchange: EXCHANGE, bitTest: BT, bitSet: BTS, bitReset: BTR } = AluOperation;
const { carry: CF, parity: PF, adjust: AF, zero: ZF, sign: SF, overflow: OF } = Flag;
const ARITHMETIC = CF | PF | AF | ZF | SF | OF;
/** Bit n is set if n has an even number of bits, of 4. */
const EVEN_NIBBLES = 0x9669;

/** Computes; the answer is in the three fields. */
export class Alu {
  low = 0;
  high = 0;
  flags = 0;

  /** Does an `AluOperation` on operands of a size, which have no bits beyond it, with RFLAGS as they were. */
  compute(
    operation: number,
    size: number,
    aLow: number,
    aHigh: number,
    bLow: number,
    bHigh: number,
    flags: number,
  ): void {
    this.flags = flags;
    switch (operation) {
      case ADD:
        return this.#sum(size, aLow, aHigh, bLow, bHigh, 0, ARITHMETIC);
      case ADC:
        return this.#sum(size, aLow, aHigh, bLow, bHigh, flags & CF, ARITHMETIC);
      case INC:
        return this.#sum(size, aLow, aHigh, 1, 0, 0, ARITHMETIC & ~CF);
      case SUB:
        return this.#difference(size, aLow, aHigh, bLow, bHigh, 0, ARITHMETIC);
      case SBB:
        return this.#difference(size, aLow, aHigh, bLow, bHigh, flags & CF, ARITHMETIC);
      case DEC:
        return this.#difference(size, aLow, aHigh, 1, 0, 0, ARITHMETIC & ~CF);
      case NEG:
        return this.#difference(size, 0, 0, aLow, aHigh, 0, ARITHMETIC);
      case AND:
        return this.#logic(size, aLow & bLow, aHigh & bHigh);
      case OR:
        return this.#logic(size, aLow | bLow, aHigh | bHigh);
      case XOR:
        return this.#logic(size, aLow ^ bLow, aHigh ^ bHigh);
      case NOT:
        return this.#leave(size, ~aLow, ~aHigh);
      case EXCHANGE:
        return this.#leave(size, bLow, bHigh);
      default:
        return this.#bit(operation, size, aLow, aHigh, bLow);
    }
  }

  #sum(
    size: number,
    aLow: number,
    aHigh: number,
    bLow: number,
    bHigh: number,
    carry: number,
    change: number,
  ): void {
    const sum = (aLow >>> 0) + (bLow >>> 0) + carry;
    const beyond = sum > 0xffff_ffff ? 1 : 0;
    const sumHigh = (aHigh >>> 0) + (bHigh >>> 0) + beyond;
    this.#leave(size, sum | 0, size === 8 ? sumHigh | 0 : 0);
    let set = (aLow ^ bLow ^ this.low) & AF;
    const a = size === 8 ? aHigh : aLow;
    const b = size === 8 ? bHigh : bLow;
    const result = size === 8 ? this.high : this.low;
    if ((size === 8 ? sumHigh : sum) > largest(size)) set |= CF;
    if (((a ^ result) & (b ^ result) & signBit(size)) !== 0) set |= OF;
    this.#note(size, set, change);
  }

  #difference(
    size: number,
    aLow: number,
    aHigh: number,
    bLow: number,
    bHigh: number,
    borrow: number,
    change: number,
  ): void {
    const difference = (aLow >>> 0) - (bLow >>> 0) - borrow;
    const differenceHigh = (aHigh >>> 0) - (bHigh >>> 0) - (difference < 0 ? 1 : 0);
    this.#leave(size, difference | 0, size === 8 ? differenceHigh | 0 : 0);
    let set = (aLow ^ bLow ^ this.low) & AF;
    const a = size === 8 ? aHigh : aLow;
    const b = size === 8 ? bHigh : bLow;
    const result = size === 8 ? this.high : this.low;
    if ((size === 8 ? differenceHigh : difference) < 0) set |= CF;
    if (((a ^ b) & (a ^ result) & signBit(size)) !== 0) set |= OF;
    this.#note(size, set, change);
  }

  #logic(size: number, low: number, high: number): void {
    this.#leave(size, low, high);
    // AF is undefined and left alone.
    this.#note(size, 0, ARITHMETIC & ~AF);
  }

  /** BT and its kin: CF is the bit; the others but ZF are undefined, and all are left alone. */
  #bit(operation: number, size: number, aLow: number, aHigh: number, offset: number): void {
    const place = offset & (8 * size - 1);
    const low = place < 32 ? 1 << place : 0;
    const high = place < 32 ? 0 : 1 << place;
    const isSet = ((aLow & low) | (aHigh & high)) !== 0;
    this.flags = isSet ? this.flags | CF : this.flags & ~CF;
    if (operation === BT) this.#leave(size, aLow, aHigh);
    else if (operation === BTS) this.#leave(size, aLow | low, aHigh | high);
    else if (operation === BTR) this.#leave(size, aLow & ~low, aHigh & ~high);
    else this.#leave(size, aLow ^ low, aHigh ^ high);
  }

  #leave(size: number, low: number, high: number): void {
    this.low = size >= 4 ? low : low & largest(size);
    this.high = size === 8 ? high : 0;
  }

  /** Sets ZF, SF and PF by the result, and what else was found, of the flags that change. */
  #note(size: number, found: number, change: number): void {
    let set = found;
    if ((this.low | this.high) === 0) set |= ZF;
    if (((size === 8 ? this.high : this.low) & signBit(size)) !== 0) set |= SF;
    const nibbles = (this.low ^ (this.low >>> 4)) & 15;
    if (((EVEN_NIBBLES >>> nibbles) & 1) !== 0) set |= PF;
    this.flags = (this.flags & ~change) | (set & change);
  }
}

/** The largest value of a size; of 8 bytes that of the high half. */
function largest(size: number): number {
  return size === 1 ? 0xff : size === 2 ? 0xffff : 0xffff_ffff;
}

/** The sign bit of a size; of 8 bytes that of the high half. */
function signBit(size: number): number {
  return size === 1 ? 0x80 : size === 2 ? 0x8000 : -0x8000_0000;
}

/** Whether a condition of a jump holds, by its number in the opcode (SDM vol. 2, appendix B.1.4.7). */
export function holds(condition: number, flags: number): boolean {
  const isOtherWay = (condition & 1) !== 0;
  return holdsEven(condition >>> 1, flags) !== isOtherWay;
}

function holdsEven(half: number, flags: number): boolean {
  const isLess = ((flags & SF) !== 0) !== ((flags & OF) !== 0);
  switch (half) {
    case 0:
      return (flags & OF) !== 0;
    case 1:
      return (flags & CF) !== 0;
    case 2:
      return (flags & ZF) !== 0;
    case 3:
      return (flags & (CF | ZF)) !== 0;
    case 4:
      return (flags & SF) !== 0;
    case 5:
      return (flags & PF) !== 0;
    case 6:
      return isLess;
    default:
      return isLess || (flags & ZF) !== 0;
  }
}
