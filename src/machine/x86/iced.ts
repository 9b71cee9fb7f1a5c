/**
 * Decoding by the library iced-x86, the one library that model code uses (docs/decisions/0003). It is a pure function
 * of the bytes. The library is loaded with the first instruction: that takes a tenth of a second, and most machines
 * execute none. The explorer leaves this module as it is; it reaches no shared memory.
 */
import { createRequire } from "node:module";
import type * as IcedX86 from "iced-x86";
import { AluOperation } from "./alu.ts";
import { InstructionKind, NONE, OperandPlace } from "./instruction.ts";
import type { Instruction } from "./instruction.ts";
import { Register } from "./registers.ts";

type Library = typeof IcedX86;
type Decoded = IcedX86.Instruction;

/** What a mnemonic means here. */
interface Meaning {
  readonly kind: number;
  readonly operation: number;
  /** Whether the emulator executes it with an operand in memory (spec 4.9). */
  readonly isEmulated: boolean;
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  Nop: emulated("nothing"),
  Pause: emulated("nothing"),
  Mov: emulated("move"),
  Movzx: emulated("moveZeroExtended"),
  Movsx: emulated("moveSignExtended"),
  Movsxd: emulated("moveSignExtended"),
  Lea: emulated("loadAddress"),
  Add: emulated("alter", "add"),
  Or: emulated("alter", "or"),
  Adc: { ...emulated("alter", "addWithCarry"), isEmulated: false },
  Sbb: { ...emulated("alter", "subtractWithBorrow"), isEmulated: false },
  And: emulated("alter", "and"),
  Sub: emulated("alter", "subtract"),
  Xor: emulated("alter", "xor"),
  Inc: emulated("alter", "increment"),
  Dec: emulated("alter", "decrement"),
  Neg: { ...emulated("alter", "negate"), isEmulated: false },
  Not: { ...emulated("alter", "not"), isEmulated: false },
  Cmp: emulated("compare", "subtract"),
  Test: emulated("compare", "and"),
  Bt: emulated("compare", "bitTest"),
  Bts: emulated("alter", "bitSet"),
  Btr: emulated("alter", "bitReset"),
  Btc: { ...emulated("alter", "bitComplement"), isEmulated: false },
  Xchg: emulated("exchange"),
  Xadd: { ...emulated("exchangeAdd"), isEmulated: false },
  Cmpxchg: emulated("compareExchange"),
  Cmpxchg8b: emulated("compareExchange8Bytes"),
  Stosb: emulated("storeString"),
  Stosw: emulated("storeString"),
  Stosd: emulated("storeString"),
  Stosq: emulated("storeString"),
  Movsb: emulated("moveString"),
  Movsw: emulated("moveString"),
  Movsd: emulated("moveString"),
  Movsq: emulated("moveString"),
  Push: emulated("push"),
  Pop: emulated("pop"),
  Jmp: emulated("jump"),
};

const CONDITIONS = [
  "Jo",
  "Jno",
  "Jb",
  "Jae",
  "Je",
  "Jne",
  "Jbe",
  "Ja",
  "Js",
  "Jns",
  "Jp",
  "Jnp",
  "Jl",
  "Jge",
  "Jle",
  "Jg",
];
const REGISTER_FAMILIES: readonly (readonly [first: string, size: number])[] = [
  ["AX", 2],
  ["EAX", 4],
  ["RAX", 8],
];
const BYTE_REGISTERS: Readonly<Record<string, number>> = {
  AL: 0,
  CL: 1,
  DL: 2,
  BL: 3,
  AH: Register.ah,
  CH: Register.ch,
  DH: Register.dh,
  BH: Register.bh,
  SPL: 4,
  BPL: 5,
  SIL: 6,
  DIL: 7,
  R8L: 8,
  R9L: 9,
  R10L: 10,
  R11L: 11,
  R12L: 12,
  R13L: 13,
  R14L: 14,
  R15L: 15,
};
const GENERAL_REGISTERS = 16;
/** No instruction is longer. */
const BYTES_MAX = 15;
/** In place of a size: no register that instructions here know. */
const NO_SIZE = 0;

function emulated(kind: keyof typeof InstructionKind, operation: keyof typeof AluOperation = "add"): Meaning {
  return { kind: InstructionKind[kind], operation: AluOperation[operation], isEmulated: true };
}

/** The decoder of this thread, which all its vCPUs can use: it keeps nothing but the library. */
export function threadDecoder(): InstructionDecoder {
  ofThread ??= new InstructionDecoder();
  return ofThread;
}

let ofThread: InstructionDecoder | null = null;

/** Decodes instructions. */
class InstructionDecoder {
  readonly #library: Library;
  readonly #meanings = new Map<number, Meaning>();
  readonly #conditions = new Map<number, number>();
  /** Number and size of the library's registers. */
  readonly #registers = new Map<number, readonly [number: number, size: number]>();

  constructor() {
    const library: Library = createRequire(import.meta.url)("iced-x86");
    this.#library = library;
    const mnemonics = new Map<string, number>(
      Object.entries(library.Mnemonic).map(([name, id]) => [name, Number(id)]),
    );
    for (const [name, meaning] of Object.entries(MEANINGS))
      this.#meanings.set(mnemonics.get(name) ?? NONE, meaning);
    for (const [condition, name] of CONDITIONS.entries()) {
      this.#meanings.set(mnemonics.get(name) ?? NONE, emulated("jump"));
      this.#conditions.set(mnemonics.get(name) ?? NONE, condition);
    }
    const registers = new Map<string, number>(
      Object.entries(library.Register).map(([name, id]) => [name, Number(id)]),
    );
    for (const [name, number] of Object.entries(BYTE_REGISTERS))
      this.#registers.set(registers.get(name) ?? NONE, [number, 1]);
    for (const [name, size] of REGISTER_FAMILIES)
      for (let number = 0; number < GENERAL_REGISTERS; number++)
        this.#registers.set((registers.get(name) ?? NONE) + number, [number, size]);
  }

  /** Decodes what the first `count` bytes begin with, as code of 16, 32 or 64 bits. */
  decode(bits: number, bytes: Uint8Array, count: number, into: Instruction): void {
    if (this.#attempt(bits, bytes, count, into) || count < BYTES_MAX) return;
    // The library calls what is too long invalid: one byte less, and it wants more.
    this.#attempt(bits, bytes, BYTES_MAX - 1, into);
  }

  /** False when the bytes are no instruction; they may be the beginning of one. */
  #attempt(bits: number, bytes: Uint8Array, count: number, into: Instruction): boolean {
    const { Decoder, DecoderError, DecoderOptions } = this.#library;
    const decoder = new Decoder(bits, bytes.subarray(0, count), DecoderOptions.None);
    const decoded = decoder.decode();
    const error = decoder.lastError;
    into.length = decoded.length;
    if (error === DecoderError.NoMoreBytes) into.kind = InstructionKind.incomplete;
    else if (error !== DecoderError.None || !this.#fill(decoded, bits, into))
      into.kind = InstructionKind.unknown;
    decoded.free();
    decoder.free();
    return error !== DecoderError.InvalidInstruction;
  }

  #fill(decoded: Decoded, bits: number, into: Instruction): boolean {
    const { Code, Register: Names } = this.#library;
    const meaning = this.#meanings.get(decoded.mnemonic);
    // FS and GS have bases of their own; a move of MMX or SSE can have the name of one of strings.
    const isElsewhere = decoded.memorySegment === Names.FS || decoded.memorySegment === Names.GS;
    if (meaning === undefined || isElsewhere || decoded.code === Code.Movsd_xmm_xmmm64) return false;
    if (decoded.code === Code.Movsd_xmmm64_xmm) return false;
    into.kind = meaning.kind;
    into.operation = meaning.operation;
    into.isLocked = decoded.hasLockPrefix;
    into.isRepeated = decoded.hasRepPrefix || decoded.hasRepnePrefix;
    into.first = OperandPlace.none;
    into.second = OperandPlace.none;
    into.size = 0;
    into.condition = this.#conditions.get(decoded.mnemonic) ?? NONE;
    if (into.kind === InstructionKind.nothing) {
      into.isEmulated = true;
      return true;
    }
    if (into.kind === InstructionKind.jump) return this.#fillJump(decoded, into);
    if (!this.#fillMemory(decoded, bits, into) || !this.#fillOperands(decoded, into)) return false;
    if (into.kind === InstructionKind.push || into.kind === InstructionKind.pop)
      into.size = Math.abs(decoded.stackPointerIncrement);
    into.isEmulated = meaning.isEmulated || into.first === OperandPlace.register;
    return true;
  }

  #fillJump(decoded: Decoded, into: Instruction): boolean {
    const { OpKind } = this.#library;
    const kind = decoded.opKind(0);
    if (kind !== OpKind.NearBranch16 && kind !== OpKind.NearBranch32 && kind !== OpKind.NearBranch64)
      return false;
    into.size = kind === OpKind.NearBranch16 ? 2 : kind === OpKind.NearBranch32 ? 4 : 8;
    this.#setImmediate(decoded.nearBranchTarget, into);
    into.isEmulated = true;
    return true;
  }

  #fillMemory(decoded: Decoded, bits: number, into: Instruction): boolean {
    const { Register: Names, RegisterExt } = this.#library;
    const { memoryBase: base, memoryIndex: index } = decoded;
    into.isRelative = base === Names.RIP || base === Names.EIP;
    const baseOf = into.isRelative || base === Names.None ? NONE : this.#registers.get(base)?.[0];
    const indexOf = index === Names.None ? NONE : this.#registers.get(index)?.[0];
    if (baseOf === undefined || indexOf === undefined) return false;
    into.base = baseOf;
    into.index = indexOf;
    into.scale = Math.log2(decoded.memoryIndexScale);
    into.displacementLow = halfOf(decoded.memoryDisplacement, 0);
    into.displacementHigh = halfOf(decoded.memoryDisplacement, 32);
    const named = base === Names.None ? index : base;
    into.addressSize = named === Names.None ? decoded.memoryDisplSize : RegisterExt.size(named);
    if (into.addressSize < 2) into.addressSize = bits / 8;
    return true;
  }

  #fillOperands(decoded: Decoded, into: Instruction): boolean {
    if (into.kind === InstructionKind.storeString || into.kind === InstructionKind.moveString)
      return this.#fillString(decoded, into);
    if (decoded.opCount > 2) return false;
    for (let operand = 0; operand < decoded.opCount; operand++) {
      const place = this.#placeOf(decoded, operand);
      if (place === OperandPlace.none) return false;
      const [register, size] = this.#sizeOf(decoded, operand, place);
      if (operand === 0) {
        into.first = place;
        into.firstRegister = register;
        into.size = size;
      } else {
        into.second = place;
        into.secondRegister = register;
        into.sourceSize = size === NO_SIZE ? into.size : size;
      }
      if (place === OperandPlace.register && size === NO_SIZE) return false;
      if (place === OperandPlace.immediate) this.#setImmediate(decoded.immediate(operand), into);
    }
    return into.size <= 8;
  }

  #fillString(decoded: Decoded, into: Instruction): boolean {
    const { OpKind, MemorySizeExt } = this.#library;
    const kind = decoded.opKind(0);
    into.addressSize = kind === OpKind.MemoryESRDI ? 8 : kind === OpKind.MemoryESEDI ? 4 : 2;
    into.size = MemorySizeExt.size(decoded.memorySize);
    into.first = OperandPlace.memory;
    return true;
  }

  #placeOf(decoded: Decoded, operand: number): number {
    const { OpKind } = this.#library;
    const kind = decoded.opKind(operand);
    if (kind === OpKind.Register) return OperandPlace.register;
    if (kind === OpKind.Memory) return OperandPlace.memory;
    return kind >= OpKind.Immediate8 && kind <= OpKind.Immediate32to64
      ? OperandPlace.immediate
      : OperandPlace.none;
  }

  #sizeOf(decoded: Decoded, operand: number, place: number): readonly [number: number, size: number] {
    if (place === OperandPlace.register)
      return this.#registers.get(decoded.opRegister(operand)) ?? [0, NO_SIZE];
    return place === OperandPlace.memory
      ? [0, this.#library.MemorySizeExt.size(decoded.memorySize)]
      : [0, NO_SIZE];
  }

  #setImmediate(value: bigint, into: Instruction): void {
    into.immediateLow = halfOf(value, 0);
    into.immediateHigh = halfOf(value, 32);
  }
}

function halfOf(value: bigint, shift: number): number {
  return Number(BigInt.asIntN(32, value >> BigInt(shift)));
}
