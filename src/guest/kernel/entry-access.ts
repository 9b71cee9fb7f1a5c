/**
 * How a kernel reads and writes pagetable entries with ordinary loads and stores. A PAE kernel has only 4-byte stores: it
 * writes the half without the present bit first when it makes an entry present, and the half with it first when it takes
 * the entry away; what is present already it replaces in one compare-exchange of 8 bytes.
 */
import type { Cpu } from "../cpu.ts";
import type { GuestFormat } from "../scenario.ts";

const PRESENT = 1;

/** One vCPU's accesses to entries. Addresses are linear. */
export class EntryAccess {
  /** The high half of the entry last read or taken away. */
  high = 0;
  readonly #cpu: Cpu;
  readonly #isWide: boolean;
  readonly #byHalves: boolean;

  constructor(cpu: Cpu, format: GuestFormat) {
    this.#cpu = cpu;
    this.#isWide = format !== "2level";
    this.#byHalves = format === "pae";
  }

  /** The entry at an address: the low half is returned. */
  readEntry(address: number): number {
    const cpu = this.#cpu;
    if (!this.#isWide) {
      this.high = 0;
      return cpu.load32(address);
    }
    const low = cpu.load64(address);
    this.high = cpu.valueHigh;
    return low;
  }

  /** Writes an entry, whatever stood there. */
  writeEntry(address: number, low: number, high: number): void {
    const cpu = this.#cpu;
    if (!this.#isWide) {
      cpu.store32(address, low);
    } else if (!this.#byHalves) {
      cpu.store64(address, low, high);
    } else if ((low & PRESENT) === 0) {
      cpu.store32(address, low);
      cpu.store32(address + 4, high);
    } else if ((cpu.load32(address) & PRESENT) === 0) {
      cpu.store32(address + 4, high);
      cpu.store32(address, low);
    } else {
      this.#replaceWhole(address, low, high);
    }
  }

  /** Clears an entry and returns its low half as it was at that moment: no D bit set meanwhile is lost. */
  takeEntry(address: number): number {
    const cpu = this.#cpu;
    if (!this.#isWide) {
      this.high = 0;
      return cpu.exchange32(address, 0);
    }
    if (this.#byHalves) {
      const low = cpu.exchange32(address, 0);
      this.high = cpu.load32(address + 4);
      cpu.store32(address + 4, 0);
      return low;
    }
    let low = cpu.load64(address);
    let high = cpu.valueHigh;
    while (!cpu.compareExchange64(address, low, high, 0, 0)) {
      low = cpu.found;
      high = cpu.valueHigh;
    }
    this.high = high;
    return low;
  }

  /** Clears and sets flags of an entry; returns its low half as it was. */
  updateFlags(address: number, clear: number, set: number): number {
    return this.#cpu.updateBits32(address, clear, set);
  }

  /** Clears the W bit by a one-byte access, as `lock and` on the entry's first byte does. */
  clearWritableByte(address: number): void {
    const cpu = this.#cpu;
    let seen = cpu.load8(address);
    while (!cpu.compareExchange8(address, seen, seen & ~2)) seen = cpu.found;
  }

  /** Stores to a part of an entry what stands there: one byte, two, or four that are not aligned. */
  rewriteOddly(address: number): void {
    const cpu = this.#cpu;
    const kind = cpu.random(this.#isWide ? 4 : 3);
    if (kind === 0) cpu.store8(address + 1, cpu.load8(address + 1));
    else if (kind === 1) cpu.store16(address + 1, cpu.load16(address + 1));
    else if (kind === 2) cpu.store16(address + 2, cpu.load16(address + 2));
    else cpu.store32(address + 2, cpu.load32(address + 2));
  }

  #replaceWhole(address: number, low: number, high: number): void {
    const cpu = this.#cpu;
    let seenLow = cpu.load64(address);
    let seenHigh = cpu.valueHigh;
    while (!cpu.compareExchange64(address, seenLow, seenHigh, low, high)) {
      seenLow = cpu.found;
      seenHigh = cpu.valueHigh;
    }
  }
}
