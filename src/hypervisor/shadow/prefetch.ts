/** Filling the entries behind a demand fault, while the lock is held anyway (spec 8). */
import { Counter } from "../../memory/counters.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { Fetch } from "./propagate.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const WRITABLE = 2;
const ACCESSED = 32;
const DIRTY = 64;
const DISTANCE = 32;

/** Prefetches leaves. Callers hold the paging lock. */
export class Prefetch {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Fills up to 31 entries behind `cell`, the shadow leaf of guest entry `index` in `table`. For a superpage `table` is
   * NO_MFN and `gfn` the page just mapped.
   */
  behind(cell: number, table: Mfn, index: number, gfn: number, format: number): void {
    const { memory, entries, propagation, counters, tables, outOfSync } = this.#shadow;
    const left = 512 - ((cell >>> 1) & 511);
    const distance = Math.min(left, DISTANCE);
    for (let step = 1; step < distance; step++) {
      const next = cell + 2 * step;
      if (memory.loadEntry(next) !== 0 || memory.high !== 0) return;
      const isWorthwhile =
        table === NO_MFN
          ? this.#superpageEntry(gfn + step, format)
          : this.#tableEntry(table, index + step, format);
      if (!isWorthwhile) return;
      entries.setLeaf(next, propagation.low, propagation.high);
      if (outOfSync.isShadowOutOfSync(mfn(next >>> 10)))
        outOfSync.snapshots.noteMade(table, index + step, format, tables.guestLow, tables.guestHigh);
      counters.add(Counter.prefetch);
    }
  }

  #superpageEntry(gfn: number, format: number): boolean {
    const { propagation, p2m } = this.#shadow;
    propagation.leaf(SUPERPAGE_ENTRY, 0, p2m.entryOf(gfn), gfn, format, Fetch.prefetch);
    return true;
  }

  /** False for an entry that would need another fault anyway, to get its A or D. */
  #tableEntry(table: Mfn, index: number, format: number): boolean {
    const { tables, validation } = this.#shadow;
    validation.propagateLeafEntry(table, index, format);
    const low = tables.guestLow;
    if ((low & PRESENT) === 0) return true;
    if ((low & ACCESSED) === 0) return false;
    return (low & WRITABLE) === 0 || (low & DIRTY) !== 0;
  }
}

/** The level 1 entry that stands for a page of a superpage: every right, A and D; all restriction is a level above. */
export const SUPERPAGE_ENTRY = 0x67;
