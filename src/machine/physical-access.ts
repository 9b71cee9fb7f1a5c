/**
 * Accesses of 1, 2, 4 and 8 bytes to machine memory at a byte address, as a processor makes them: one atomic access when
 * aligned, byte by byte otherwise (so that another vCPU can see a torn value, as across cache lines on hardware). That
 * goes for compare-exchanges too: there is no bus lock that would hold off the others.
 */
import type { SharedMemory } from "../memory/shared-memory.ts";
import { Alu } from "./x86/alu.ts";
import type { CodeState } from "./x86/code-state.ts";

/** What an operation that alters memory computes with. */
export interface Alteration {
  readonly valueLow: number;
  readonly valueHigh: number;
  readonly code: CodeState;
}

/** Performs accesses; the value read is in `low` and `high` afterwards. */
export class PhysicalAccess {
  low = 0;
  high = 0;
  readonly #memory: SharedMemory;
  readonly #alu = new Alu();

  constructor(memory: SharedMemory) {
    this.#memory = memory;
  }

  /** Reads `size` bytes. */
  read(address: number, size: number): void {
    if (size === 4 && (address & 3) === 0) {
      this.low = this.#memory.loadWord(address >>> 2);
      this.high = 0;
    } else if (size === 8 && (address & 7) === 0) {
      this.low = this.#memory.loadEntry(address >>> 2);
      this.high = this.#memory.high;
    } else this.#readSmall(address, size);
  }

  /** Writes `size` bytes. */
  write(address: number, size: number, low: number, high: number): void {
    if ((address & (size - 1)) !== 0) this.writeBytes(address, size, address + size, 0, low, high);
    else if (size === 8) this.#memory.storeEntry(address >>> 2, low, high);
    else if (size === 4) this.#memory.storeWord(address >>> 2, low);
    else if (size === 2) this.#memory.storeHalf(address, low);
    else this.#memory.storeByte(address, low);
  }

  /** Compare-exchanges `size` bytes; what was there is in `low` and `high`. Returns whether it stored. */
  exchange(
    address: number,
    size: number,
    expectedLow: number,
    expectedHigh: number,
    low: number,
    high: number,
  ): boolean {
    this.high = 0;
    if ((address & (size - 1)) !== 0) {
      const end = address + size;
      return this.exchangeBytes(address, size, end, 0, expectedLow, expectedHigh, low, high);
    }
    if (size === 8) {
      const stored = this.#memory.compareExchangeEntry(address >>> 2, expectedLow, expectedHigh, low, high);
      this.low = this.#memory.low;
      this.high = this.#memory.high;
      return stored;
    }
    if (size === 4) {
      this.low = this.#memory.compareExchangeWord(address >>> 2, expectedLow, low);
      return this.low === expectedLow;
    }
    if (size === 2) {
      this.low = this.#memory.compareExchangeHalf(address, expectedLow, low);
      return this.low === (expectedLow & 0xffff);
    }
    this.low = this.#memory.compareExchangeByte(address, expectedLow, low);
    return this.low === (expectedLow & 0xff);
  }

  /** Reads, computes and writes `size` bytes as one access; what was there is in `low` and `high`. */
  alter(address: number, size: number, by: Alteration): void {
    this.read(address, size);
    let isStored = false;
    while (!isStored) {
      const { low, high } = this;
      this.#compute(size, by);
      isStored = this.exchange(address, size, low, high, this.#alu.low, this.#alu.high);
    }
  }

  /** Alters bytes, as `readBytes` and `writeBytes` find them. */
  alterBytes(first: number, size: number, split: number, second: number, by: Alteration): void {
    this.readBytes(first, size, split, second);
    this.#compute(size, by);
    this.writeBytes(first, size, split, second, this.#alu.low, this.#alu.high);
  }

  #compute(size: number, { valueLow, valueHigh, code }: Alteration): void {
    this.#alu.compute(code.alteration, size, this.low, this.high, valueLow, valueHigh, code.flags);
  }

  /** Reads less than a word, or what is not aligned. */
  #readSmall(address: number, size: number): void {
    this.high = 0;
    if (size === 1) this.low = this.#memory.loadByte(address);
    else if (size === 2 && (address & 1) === 0) this.low = this.#memory.loadHalf(address);
    else this.readBytes(address, size, address + size, 0);
  }

  /** Reads bytes from `first`, and from `second` on once `split` is reached: an access that crosses pages. */
  readBytes(first: number, size: number, split: number, second: number): void {
    this.low = 0;
    this.high = 0;
    for (let index = 0; index < size; index++) {
      const at = first + index < split ? first + index : second + (first + index - split);
      const byte = this.#memory.loadByte(at);
      if (index < 4) this.low |= byte << (index * 8);
      else this.high |= byte << ((index - 4) * 8);
    }
  }

  /** Writes bytes, as `readBytes` reads them. */
  writeBytes(first: number, size: number, split: number, second: number, low: number, high: number): void {
    for (let index = 0; index < size; index++) {
      const at = first + index < split ? first + index : second + (first + index - split);
      this.#memory.storeByte(at, index < 4 ? low >>> (index * 8) : high >>> ((index - 4) * 8));
    }
  }

  /** Compare-exchanges bytes, as `readBytes` and `writeBytes` find them. Returns whether it stored. */
  exchangeBytes(
    first: number,
    size: number,
    split: number,
    second: number,
    expectedLow: number,
    expectedHigh: number,
    low: number,
    high: number,
  ): boolean {
    this.readBytes(first, size, split, second);
    const mask = size < 4 ? (1 << (size * 8)) - 1 : -1;
    if (((this.low ^ expectedLow) & mask) !== 0 || (size === 8 && this.high !== expectedHigh)) return false;
    this.writeBytes(first, size, split, second, low, high);
    return true;
  }
}
