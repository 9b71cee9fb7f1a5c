/** The only writers of shadow entries (spec 4.8b). They keep every count, and say when a flush is owed. */
import { CrashReason } from "../../memory/domain-area.ts";
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { refersToFrame, rightsOnlyGrow } from "./shadow-entry.ts";
import { pointsToLeaves } from "./out-of-sync.ts";
import { ShadowType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const WRITABLE = 2;
const FLAGS = 0xfff;

/** What setting an entry did; bits. */
export const SetResult = { unchanged: 0, changed: 1, flush: 2, error: 4 } as const;

/** Sets shadow entries. Callers hold the paging lock. */
export class EntrySetter {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Sets a leaf entry. Never asks for a flush: a leaf mirrors the guest's own entry, so the guest owes that flush. On
   * `error` (the frame may not be mapped so) the entry is 0.
   */
  setLeaf(cell: number, wantedLow: number, wantedHigh: number): number {
    const { memory, pages, vram } = this.#shadow;
    this.#recordWriter(cell, wantedLow, wantedHigh);
    const oldLow = memory.loadEntry(cell);
    const oldHigh = memory.high;
    if (oldLow === wantedLow && oldHigh === wantedHigh) return SetResult.unchanged;
    let low = wantedLow;
    let high = wantedHigh;
    let result: number = SetResult.changed;
    if (
      refersToFrame(low, high) &&
      !pages.getMapping(this.#shadow.frameIn(low, high), (low & WRITABLE) !== 0)
    ) {
      low = 0;
      high = 0;
      result |= SetResult.error;
    }
    if (vram.isOn()) vram.replaceLeaf(cell, low, high);
    else memory.storeEntry(cell, low, high);
    if (refersToFrame(oldLow, oldHigh))
      pages.putMapping(this.#shadow.frameIn(oldLow, oldHigh), (oldLow & WRITABLE) !== 0);
    return result;
  }

  /**
   * Sets an entry of level 2 or above in a shadow of `type`. The new child is referenced before the old one is dropped,
   * and the entry is written between (spec 20.20).
   */
  setUpper(cell: number, low: number, high: number, type: number): number {
    const { memory, references, domain } = this.#shadow;
    const oldLow = memory.loadEntry(cell);
    const oldHigh = memory.high;
    if (oldLow === low && oldHigh === high) return SetResult.unchanged;
    if ((low & PRESENT) !== 0) {
      const child = this.#shadow.frameIn(low, high);
      if (!references.getShadow(child, cell)) {
        domain.crash(CrashReason.refcountOverflow, child);
        return SetResult.error;
      }
      if (type === ShadowType.l4_64) references.pin(child);
      if (pointsToLeaves(type)) this.#resyncChild(child);
    }
    memory.storeEntry(cell, low, high);
    if (type === ShadowType.l2_32) this.#storeOddHalf(cell, low, high);
    if ((oldLow & PRESENT) === 0) return SetResult.changed;
    const oldChild = this.#shadow.frameIn(oldLow, oldHigh);
    const sameChild = (low & PRESENT) !== 0 && oldChild === this.#shadow.frameIn(low, high);
    references.putShadow(oldChild, cell);
    const isHarmless = sameChild && rightsOnlyGrow(oldLow, oldHigh, low, high);
    return isHarmless ? SetResult.changed : SetResult.changed | SetResult.flush;
  }

  /** A leaf that lets an out-of-sync page be written is recorded, so that a resync finds it (spec 7.5). */
  #recordWriter(cell: number, low: number, high: number): void {
    const { outOfSync } = this.#shadow;
    if (!outOfSync.isOn || (low & WRITABLE) === 0 || !refersToFrame(low, high)) return;
    const frame = this.#shadow.frameIn(low, high);
    if (outOfSync.mayWrite(frame)) outOfSync.fixups.record(frame, cell);
  }

  /** A new path to an out-of-sync page, for which the guest need not flush, must not show what is out of date (spec 7.7). */
  #resyncChild(child: Mfn): void {
    const { outOfSync, frames } = this.#shadow;
    if (outOfSync.isShadowOutOfSync(child)) outOfSync.resyncPage(mfn(frames.back(child)));
  }

  /** A 32-bit guest's level 2 entry maps 4 MiB: its second slot points to the second page of the same child. */
  #storeOddHalf(cell: number, low: number, high: number): void {
    const { memory, frames } = this.#shadow;
    if ((low & PRESENT) === 0) {
      memory.storeEntry(cell + 2, low, high);
      return;
    }
    const second = frames.sibling(this.#shadow.frameIn(low, high));
    memory.storeEntry(cell + 2, (second << 12) | (low & FLAGS), (second >>> 20) | (high & (1 << 31)));
  }
}
