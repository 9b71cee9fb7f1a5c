/**
 * The registers of a vCPU's integer unit. They lie in the vCPU's own area of the shared memory, so that the emulator
 * finds them where the processor left them and a machine at rest has them too; only the vCPU's own thread accesses them.
 */
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";

/** Numbers of the general registers, as instructions encode them; the four behind are bits 8 to 15 of the first four. */
export const Register = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
  ah: 16,
  ch: 17,
  dh: 18,
  bh: 19,
} as const;

/** Bits of RFLAGS that instructions here read or write (SDM vol. 1, 3.4.3). */
export const Flag = {
  carry: 1,
  parity: 4,
  adjust: 16,
  zero: 64,
  sign: 128,
  direction: 1024,
  overflow: 2048,
} as const;

const FIRST_HIGH_BYTE = Register.ah;
const RIP = 32;
const RFLAGS = 34;
const CODE_BITS = 35;
/** Words that the registers take. */
export const REGISTER_WORDS = 36;

/** One vCPU's registers. 64-bit values are two int32 halves. */
export class Registers {
  readonly #words: Int32Array;

  constructor(memory: SharedMemory, area: number) {
    this.#words = memory.privateWords(area + VcpuCell.registers, REGISTER_WORDS);
  }

  /** The low half of a register as an operand of 1, 2, 4 or 8 bytes; less than 4 bytes without a sign. */
  lowOf(register: number, size: number): number {
    if (size >= 4) return this.#words[2 * register] ?? 0;
    if (register >= FIRST_HIGH_BYTE)
      return ((this.#words[2 * (register - FIRST_HIGH_BYTE)] ?? 0) >>> 8) & 0xff;
    return (this.#words[2 * register] ?? 0) & (size === 1 ? 0xff : 0xffff);
  }

  /** The high half of a register as an operand: 0 unless it has 8 bytes. */
  highOf(register: number, size: number): number {
    return size === 8 ? (this.#words[2 * register + 1] ?? 0) : 0;
  }

  /** Writes an operand of 1, 2, 4 or 8 bytes: 4 bytes clear the high half, fewer leave the rest of the register alone. */
  assign(register: number, size: number, low: number, high: number): void {
    const words = this.#words;
    if (size >= 4) {
      words[2 * register] = low;
      words[2 * register + 1] = size === 8 ? high : 0;
    } else if (register >= FIRST_HIGH_BYTE) {
      const at = 2 * (register - FIRST_HIGH_BYTE);
      words[at] = ((words[at] ?? 0) & ~0xff00) | ((low & 0xff) << 8);
    } else {
      const mask = size === 1 ? 0xff : 0xffff;
      words[2 * register] = ((words[2 * register] ?? 0) & ~mask) | (low & mask);
    }
  }

  /** RIP, its low half. */
  get ripLow(): number {
    return this.#words[RIP] ?? 0;
  }

  /** RIP, its high half. */
  get ripHigh(): number {
    return this.#words[RIP + 1] ?? 0;
  }

  /** Sets RIP behind an instruction of so many bytes. */
  passOver(length: number): void {
    this.moveRip(length, 0, this.codeBits >>> 3);
  }

  /** Sets RIP to so many bytes from where it is, cut to the bytes that an address of code has. */
  moveRip(low: number, high: number, bytes: number): void {
    const sum = (this.ripLow >>> 0) + (low >>> 0);
    const carry = sum > 0xffff_ffff ? 1 : 0;
    this.jumpTo(bytes === 2 ? sum & 0xffff : sum | 0, bytes === 8 ? this.ripHigh + high + carry : 0);
  }

  /** Sets RIP. */
  jumpTo(low: number, high: number): void {
    this.#words[RIP] = low;
    this.#words[RIP + 1] = high;
  }

  /** RFLAGS, its low half; bit 1 is always set. */
  get flags(): number {
    return (this.#words[RFLAGS] ?? 0) | 2;
  }

  set flags(value: number) {
    this.#words[RFLAGS] = value;
  }

  /** Bits of the code at RIP: 16, 32 or 64, as the code segment says. Segments are flat here, from address 0. */
  get codeBits(): number {
    return this.#words[CODE_BITS] ?? 0;
  }

  set codeBits(bits: number) {
    this.#words[CODE_BITS] = bits;
  }

  /** Copies all registers into an array of `REGISTER_WORDS`, for `restore`. */
  save(into: Int32Array): void {
    into.set(this.#words);
  }

  /** Puts a copy back. */
  restore(copy: Int32Array): void {
    this.#words.set(copy);
  }
}
