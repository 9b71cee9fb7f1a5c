/** A decoded instruction, as plain numbers: what the interpreter executes. Instructions mean those of the SDM, vol. 2. */

/** What an instruction does, apart from its operands. */
export const InstructionKind = {
  /** Nothing that this processor knows; or no instruction at all. */
  unknown: 0,
  /** The bytes end within the instruction. */
  incomplete: 1,
  nothing: 2,
  move: 3,
  moveZeroExtended: 4,
  moveSignExtended: 5,
  loadAddress: 6,
  /** Reads its first operand, computes, writes the result back: ADD, LOCK AND, BTS, INC, … */
  alter: 7,
  /** Computes for the flags alone: CMP, TEST, BT. */
  compare: 8,
  exchange: 9,
  exchangeAdd: 10,
  compareExchange: 11,
  compareExchange8Bytes: 12,
  storeString: 13,
  moveString: 14,
  push: 15,
  pop: 16,
  jump: 17,
} as const;

/** Where an operand is. */
export const OperandPlace = { none: 0, register: 1, memory: 2, immediate: 3 } as const;

/** No register, as base or index; no condition, of a jump. */
export const NONE = -1;

/** One decoded instruction. Registers are numbers of `Register`. */
export class Instruction {
  /** An `InstructionKind`. */
  kind = 0;
  /** An `AluOperation`, of `alter` and `compare`. */
  operation = 0;
  /** Bytes. */
  length = 0;
  /** Bytes of the first operand. */
  size = 0;
  /** Bytes of the second operand, of moves that extend. */
  sourceSize = 0;
  isLocked = false;
  isRepeated = false;
  /** Whether the emulator of pagetable writes executes it too; the others are left to the processor (spec 4.9). */
  isEmulated = false;

  /** `OperandPlace`s. */
  first = 0;
  second = 0;
  firstRegister = 0;
  secondRegister = 0;

  base = NONE;
  index = NONE;
  /** Log2 of the factor of the index. */
  scale = 0;
  displacementLow = 0;
  displacementHigh = 0;
  /** Whether the displacement counts from the instruction's first byte. */
  isRelative = false;
  /** Bytes of an address: 2, 4 or 8. */
  addressSize = 0;

  /** The immediate operand; of a jump the distance from the instruction's first byte. */
  immediateLow = 0;
  immediateHigh = 0;
  /** Number of a jump's condition, as in its opcode; `NONE` for JMP. */
  condition = NONE;
}
