/**
 * Emulated stores that no shadow can notice (spec 5.4): an entry that was not present and is not present. Whether it is one
 * entry that was written depends on the size of the entries that the page's shadows take it to have.
 *
 * Both samples are taken under the lock. Xen samples the first one before it (since February 2008): then another vCPU can
 * make the entry present in between, and its shadow outlives it (spec 20.14).
 */
import { PAGE_BYTES } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { LONG_ENTRY_TYPES, WORD_ENTRY_TYPES } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;

/** Judges one emulated store. Callers hold the paging lock. */
export class SkipVerify {
  readonly #shadow: Shadow;
  #wasAbsent = false;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** The store to an offset of a page is about to be made. */
  sample(frame: Mfn, offset: number): void {
    this.#wasAbsent = this.#isAbsent(frame, offset);
  }

  /** Whether the store, made by now, was of one absent entry by another. */
  isHarmless(frame: Mfn, offset: number, size: number): boolean {
    if (!this.#wasAbsent || !this.#isAbsent(frame, offset)) return false;
    const flags = this.#shadow.frames.shadowFlags(frame);
    return (
      ((flags & WORD_ENTRY_TYPES) === 0 && (offset & 7) === 0) ||
      ((flags & LONG_ENTRY_TYPES) === 0 && (offset & 3) === 0 && size <= 4)
    );
  }

  #isAbsent(frame: Mfn, offset: number): boolean {
    return (this.#shadow.memory.loadByte(frame * PAGE_BYTES + offset) & PRESENT) === 0;
  }
}
