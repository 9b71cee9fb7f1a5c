/**
 * The oracle of accessed and dirty bits. Only the guest clears them: once it has cleared D of an entry and every vCPU has
 * forgotten the translation, a page whose contents then change must have D again, and one that is read must have A.
 */
import { EntryFlag } from "../machine/entry.ts";
import { hex } from "./hex.ts";
import type { Cpu } from "./cpu.ts";
import { PAGE_SLOTS, SLOT_STRIDE } from "./kernel/image.ts";

/** What the oracle asks of a kernel. */
export interface AccessBits {
  /** Clears A and D of a page's entry and flushes on every vCPU; the entry as it was, 0 if it was not present. */
  harvestAccess(address: number): number;
  /** The leaf entry of an address, 0 if there is none. */
  leafEntry(address: number): number;
}

/** Watches pages for writes that left no D behind. One vCPU watches; any may write. */
export class AccessOracle {
  readonly #cpu: Cpu;
  readonly #bits: AccessBits;
  readonly #contents: Int32Array;
  readonly #isClean: Uint8Array;

  constructor(cpu: Cpu, bits: AccessBits, pages: number) {
    this.#cpu = cpu;
    this.#bits = bits;
    this.#contents = new Int32Array(pages * PAGE_SLOTS);
    this.#isClean = new Uint8Array(pages);
  }

  /** Clears A and D of a page and takes note of its contents. */
  cleanPage(address: number, page: number): void {
    if (this.#bits.harvestAccess(address) === 0) return;
    // Notes come after the flush: a store before it may have been counted by the D that was just taken.
    for (let slot = 0; slot < PAGE_SLOTS; slot++) {
      this.#contents[page * PAGE_SLOTS + slot] = this.#cpu.load32(address + slot * SLOT_STRIDE);
    }
    this.#isClean[page] = 1;
  }

  /** Reports if a page has changed since it was cleaned and its entry says otherwise; also if it was not seen as read. */
  checkPage(address: number, page: number): void {
    const cpu = this.#cpu;
    if (this.#isClean[page] === 0) return;
    let changed = -1;
    for (let slot = 0; slot < PAGE_SLOTS && changed < 0; slot++) {
      const now = cpu.load32(address + slot * SLOT_STRIDE);
      if (now !== this.#contents[page * PAGE_SLOTS + slot]) changed = slot;
    }
    // The contents were looked at first: a store sets D before it changes anything.
    const entry = this.#bits.leafEntry(address);
    if ((entry & EntryFlag.present) === 0) return;
    const name = `page ${String(page)} at ${hex(address)}`;
    if (changed >= 0 && (entry & EntryFlag.dirty) === 0) {
      cpu.violation("accessed-dirty", `${name} was written in slot ${String(changed)} and its entry lacks D`);
    }
    if ((entry & EntryFlag.accessed) === 0) {
      cpu.violation("accessed-dirty", `${name} has just been read and its entry lacks A`);
    }
  }

  /** A page was unmapped: its next entry is another. */
  forgetPage(page: number): void {
    this.#isClean[page] = 0;
  }
}
