/** Instructions as a test describes them, made up at random and encoded by hand from the SDM's opcode tables (vol. 2). */
import * as fc from "fast-check";
import type { Described, MemoryForm, Operand } from "./reference.ts";

/** An instruction with its bytes. */
export interface Assembled {
  readonly described: Described;
  readonly bytes: readonly number[];
  /** Bits of the code. */
  readonly bits: number;
}

/** Bits of code segments. */
export const CODE_BITS: readonly number[] = [16, 32, 64];

/** Bases and indices of 16-bit addresses, by r/m. */
const NARROW_FORMS: readonly (readonly [base: number | null, index: number | null])[] = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, null],
  [7, null],
  [5, null],
  [3, null],
];

interface Choice {
  readonly bits: number;
  readonly name: string;
  readonly sizeLog: number;
  readonly reg: number;
  readonly rm: number;
  readonly isMemory: boolean;
  readonly isSwapped: boolean;
  readonly isLocked: boolean;
  readonly isRepeated: boolean;
  readonly highBytes: boolean;
  readonly hasBase: boolean;
  readonly hasIndex: boolean;
  readonly index: number;
  readonly scaleLog: number;
  readonly displacement: number;
  readonly isNarrowAddress: boolean;
  readonly isRelative: boolean;
  readonly immediate: number;
  readonly condition: number;
}

const TWO_OPERAND = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
const ONE_OPERAND = ["inc", "dec", "not", "neg"];
const BITS = ["bt", "bts", "btr", "btc"];
const NAMES = [
  ...TWO_OPERAND,
  ...ONE_OPERAND,
  ...BITS,
  "mov",
  "movzx",
  "movsx",
  "lea",
  "test",
  "xchg",
  "xadd",
  "cmpxchg",
  "cmpxchg8b",
  "push",
  "pop",
  "jump",
  "stos",
  "movs",
  "nop",
];
/** What may be locked, with memory first. */
const LOCKABLE = new Set([
  ...TWO_OPERAND.slice(0, 7),
  ...ONE_OPERAND,
  "bts",
  "btr",
  "btc",
  "xadd",
  "cmpxchg",
  "cmpxchg8b",
]);

/** Instructions of all kinds, in code of every size. */
export function instructions(): fc.Arbitrary<Assembled> {
  return fc
    .record({
      bits: fc.constantFrom(...CODE_BITS),
      name: fc.constantFrom(...NAMES),
      sizeLog: fc.nat(3),
      reg: fc.nat(15),
      rm: fc.nat(15),
      isMemory: fc.boolean(),
      isSwapped: fc.boolean(),
      isLocked: fc.boolean(),
      isRepeated: fc.boolean(),
      highBytes: fc.boolean(),
      hasBase: fc.boolean(),
      hasIndex: fc.boolean(),
      index: fc.nat(15),
      scaleLog: fc.nat(3),
      displacement: fc.oneof(fc.integer(), fc.integer({ min: -128, max: 127 })),
      isNarrowAddress: fc.boolean(),
      isRelative: fc.boolean(),
      immediate: fc.oneof(fc.integer(), fc.integer({ min: -128, max: 127 })),
      condition: fc.integer({ min: -1, max: 15 }),
    })
    .map((choice) => assemble(choice));
}

function assemble(choice: Choice): Assembled {
  return new Assembler(choice).assemble();
}

class Assembler {
  readonly #it: Choice;
  readonly #size: number;
  readonly #registers: number;

  constructor(choice: Choice) {
    this.#it = choice;
    this.#registers = choice.bits === 64 ? 16 : 8;
    this.#size = this.#sizeOf(choice);
  }

  assemble(): Assembled {
    const { name } = this.#it;
    if (name === "jump") return this.#jump();
    if (name === "nop") return this.#finish([], [0x90], { size: 4, operands: [] });
    if (name === "stos" || name === "movs") return this.#string();
    if (name === "push" || name === "pop") return this.#stack();
    if (name === "cmpxchg8b") {
      const rm = this.#memory();
      return this.#encode([0x0f, 0xc7], 1, rm, { size: 8, operands: [rm], noWide: true });
    }
    if (ONE_OPERAND.includes(name)) return this.#oneOperand();
    if (BITS.includes(name)) return this.#bit();
    if (name === "lea") {
      const rm = this.#memory();
      const reg = this.#register(this.#it.reg, this.#size);
      return this.#encode([0x8d], this.#it.reg, rm, { size: this.#size, operands: [reg, rm] });
    }
    if (name === "movzx" || name === "movsx") return this.#extend();
    return this.#twoOperands();
  }

  #sizeOf({ bits, name, sizeLog }: Choice): number {
    let size = 1 << sizeLog;
    if (bits !== 64 && size === 8) size = 4;
    if (["lea", "movzx", "movsx", ...BITS].includes(name) && size === 1) size = 2;
    if (["push", "pop"].includes(name)) return size < 4 ? 2 : bits === 64 ? 8 : 4;
    return size;
  }

  #oneOperand(): Assembled {
    const { name } = this.#it;
    const size = this.#size;
    const rm = this.#rm(size);
    const opcode = (name === "inc" || name === "dec" ? 0xfe : 0xf6) | (size === 1 ? 0 : 1);
    const extension = { inc: 0, dec: 1, not: 2, neg: 3 }[name] ?? 0;
    return this.#encode([opcode], extension, rm, { size, operands: [rm] });
  }

  #bit(): Assembled {
    const { name, reg, isSwapped, immediate } = this.#it;
    const size = this.#size;
    const rm = this.#rm(size);
    const which = BITS.indexOf(name);
    if (isSwapped) {
      // A number of a bit beyond the operand is taken modulo its size.
      const place = { place: "immediate", value: BigInt((immediate & 0xff) % (8 * size)) } as const;
      const code = { size, operands: [rm, place], immediate: [immediate & 0xff] };
      return this.#encode([0x0f, 0xba], 4 + which, rm, code);
    }
    return this.#encode([0x0f, 0xa3 | (which << 3)], reg, rm, {
      size,
      operands: [rm, this.#register(reg, size)],
    });
  }

  #extend(): Assembled {
    const { name, reg, isRepeated } = this.#it;
    const size = this.#size;
    const sourceSize = size > 2 && isRepeated ? 2 : 1;
    const rm = this.#rm(sourceSize);
    const opcode = (name === "movzx" ? 0xb6 : 0xbe) | (sourceSize === 1 ? 0 : 1);
    return this.#encode([0x0f, opcode], reg, rm, {
      size,
      sourceSize,
      operands: [this.#register(reg, size), rm],
    });
  }

  #twoOperands(): Assembled {
    const { name, reg, isSwapped, highBytes } = this.#it;
    const size = this.#size;
    const wide = size === 1 ? 0 : 1;
    const rm = this.#rm(size);
    const other = this.#register(reg, size);
    if (["xchg", "xadd", "cmpxchg"].includes(name)) {
      const opcode = { xchg: 0x86, xadd: 0xc0, cmpxchg: 0xb0 }[name] ?? 0;
      const code = name === "xchg" ? [opcode | wide] : [0x0f, opcode | wide];
      return this.#encode(code, reg, rm, { size, operands: [rm, other] });
    }
    if (isSwapped && highBytes) return this.#immediate(rm);
    const base = name === "mov" ? 0x88 : name === "test" ? 0x84 : TWO_OPERAND.indexOf(name) << 3;
    // TEST has one form only: its operands are read and no more.
    const toRegister = isSwapped && name !== "test";
    const operands = toRegister ? [other, rm] : [rm, other];
    return this.#encode([base | wide | (toRegister ? 2 : 0)], reg, rm, { size, operands });
  }

  #immediate(rm: Operand): Assembled {
    const { name, immediate } = this.#it;
    const size = this.#size;
    const wide = size === 1 ? 0 : 1;
    const isShort = size !== 1 && TWO_OPERAND.includes(name) && immediate >= -128 && immediate < 128;
    const bytes = size === 1 || isShort ? 1 : Math.min(size, 4);
    const value = BigInt.asIntN(8 * bytes, BigInt(immediate));
    const extension = name === "mov" || name === "test" ? 0 : TWO_OPERAND.indexOf(name);
    const opcode = name === "mov" ? 0xc6 : name === "test" ? 0xf6 : isShort ? 0x82 : 0x80;
    return this.#encode([opcode | wide], extension, rm, {
      size,
      operands: [rm, { place: "immediate", value }],
      immediate: bytesOf(value, bytes),
    });
  }

  #stack(): Assembled {
    const { name, rm, isMemory, isSwapped, immediate } = this.#it;
    const size = this.#size;
    if (name === "push" && isSwapped) {
      const operands = [{ place: "immediate", value: BigInt.asIntN(8, BigInt(immediate)) } as const];
      return this.#finish(this.#sizePrefix(size), [0x6a, immediate & 0xff], { size, operands });
    }
    const operand = isMemory ? this.#popMemory() : this.#register(rm, size);
    const opcode = name === "push" ? 0xff : 0x8f;
    return this.#encode([opcode], name === "push" ? 6 : 0, operand, {
      size,
      operands: [operand],
      noWide: true,
    });
  }

  /** As memory, a destination of POP that RSP addresses lies where it points after the pop; so does the reference see it. */
  #popMemory(): Operand {
    return this.#memory();
  }

  #string(): Assembled {
    const { name, isRepeated, bits, isNarrowAddress } = this.#it;
    const size = this.#size;
    const address = isNarrowAddress ? (bits === 32 ? 16 : 32) : bits;
    const memory: MemoryForm = {
      base: null,
      index: null,
      scale: 1n,
      displacement: 0n,
      bits: address,
      isRelative: false,
    };
    const prefixes = [
      ...(isRepeated ? [0xf3] : []),
      ...this.#sizePrefix(size),
      ...(address === bits ? [] : [0x67]),
    ];
    const opcode = (name === "stos" ? 0xaa : 0xa4) | (size === 1 ? 0 : 1);
    const rex = size === 8 ? [0x48] : [];
    return this.#finish(prefixes, [...rex, opcode], { size, operands: [{ place: "memory", memory }] });
  }

  #jump(): Assembled {
    const { condition, immediate } = this.#it;
    const opcode = condition < 0 ? 0xeb : 0x70 | condition;
    const distance = BigInt.asIntN(8, BigInt(immediate));
    return this.#finish([], [opcode, immediate & 0xff], { size: 0, operands: [], distance });
  }

  #rm(size: number): Operand {
    return this.#it.isMemory ? this.#memory() : this.#register(this.#it.rm, size);
  }

  #register(number: number, size: number): Operand {
    const register = number % this.#registers;
    const isHighByte = size === 1 && !this.#needsRex() && register >= 4;
    return { place: "register", register: isHighByte ? register - 4 : register, isHighByte };
  }

  /** Whether a REX prefix is there: then byte registers 4 to 7 are low ones. */
  #needsRex(): boolean {
    return this.#it.bits === 64;
  }

  #memory(): Operand {
    const { bits, isNarrowAddress, rm, index, hasBase, hasIndex, scaleLog, displacement, isRelative } =
      this.#it;
    const addressBits = isNarrowAddress ? (bits === 32 ? 16 : 32) : bits;
    const plain = { scale: 1n, bits: addressBits, isRelative: false };
    if (addressBits === 16) {
      const [base, second] = NARROW_FORMS[rm & 7] ?? [null, null];
      return {
        place: "memory",
        memory: { ...plain, base, index: second, displacement: BigInt.asIntN(16, BigInt(displacement)) },
      };
    }
    const isFromRip = isRelative && bits === 64;
    const indexed = hasIndex && index % this.#registers !== 4 && !isFromRip;
    return {
      place: "memory",
      memory: {
        ...plain,
        base: hasBase && !isFromRip ? rm % this.#registers : null,
        index: indexed ? index % this.#registers : null,
        scale: indexed ? 1n << BigInt(scaleLog) : 1n,
        displacement: BigInt(displacement),
        isRelative: isFromRip,
      },
    };
  }

  #sizePrefix(size: number): readonly number[] {
    const isOther = (size === 2 && this.#it.bits !== 16) || (size === 4 && this.#it.bits === 16);
    return isOther ? [0x66] : [];
  }

  #encode(opcode: readonly number[], reg: number, rm: Operand, code: Code): Assembled {
    const { bits, name, isLocked, isMemory } = this.#it;
    const locks = isLocked && rm === code.operands[0] && rm.place === "memory" && LOCKABLE.has(name);
    const prefixes = locks ? [0xf0] : [];
    if (name !== "cmpxchg8b") prefixes.push(...this.#sizePrefix(code.size));
    if (rm.place === "memory" && rm.memory.bits !== bits) prefixes.push(0x67);
    const field =
      code.operands.length > 1 && code.operands.some((each) => each !== rm && each.place === "register")
        ? reg % this.#registers
        : reg;
    const [modrm, rexBits] = this.#modrm(field, rm);
    const wide = code.size === 8 && code.noWide !== true ? 8 : 0;
    const rex = bits === 64 ? [0x40 | wide | rexBits] : [];
    const isLockedHere = locks && isMemory;
    return this.#finish(prefixes, [...rex, ...opcode, ...modrm, ...(code.immediate ?? [])], {
      ...code,
      isLocked: isLockedHere || locks,
    });
  }

  #modrm(reg: number, rm: Operand): readonly [bytes: readonly number[], rex: number] {
    const field = (reg & 7) << 3;
    const rexR = reg >> 3 === 0 ? 0 : 4;
    if (rm.place === "register") {
      const number = rm.isHighByte ? rm.register + 4 : rm.register;
      return [[0xc0 | field | (number & 7)], rexR | (number >> 3)];
    }
    if (rm.place !== "memory") throw new Error("an immediate has no place in ModRM");
    const { base, index, scale, displacement, bits, isRelative } = rm.memory;
    if (bits === 16) return [[0x80 | field | (this.#it.rm & 7), ...bytesOf(displacement, 2)], 0];
    if (isRelative) return [[field | 5, ...bytesOf(displacement, 4)], rexR];
    const scaleBits = Math.log2(Number(scale)) << 6;
    const sib = scaleBits | (((index ?? 4) & 7) << 3) | ((base ?? 5) & 7);
    const rexXb = ((index ?? 0) >> 3 === 0 ? 0 : 2) | ((base ?? 0) >> 3);
    return [[(base === null ? 0 : 0x80) | field | 4, sib, ...bytesOf(displacement, 4)], rexR | rexXb];
  }

  #finish(
    prefixes: readonly number[],
    code: readonly number[],
    { size, operands, ...rest }: Code,
  ): Assembled {
    const { name, condition, isRepeated, bits } = this.#it;
    return {
      bits,
      bytes: [...prefixes, ...code],
      described: {
        name,
        size,
        sourceSize: rest.sourceSize ?? size,
        operands,
        isLocked: rest.isLocked ?? false,
        isRepeated,
        condition,
        distance: rest.distance ?? 0n,
      },
    };
  }
}

interface Code {
  readonly size: number;
  readonly sourceSize?: number;
  readonly operands: readonly Operand[];
  readonly immediate?: readonly number[];
  readonly isLocked?: boolean;
  readonly distance?: bigint;
  /** The operand has 8 bytes by itself: no REX.W. */
  readonly noWide?: boolean;
}

function bytesOf(value: bigint, count: number): number[] {
  return Array.from({ length: count }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
}
