/** How shadows come into being and die (spec 3.10 to 3.12). */
import { Counter } from "../../memory/counters.ts";
import { MAY_WRITE, OUT_OF_SYNC, SHADOWED, SHADOW_TYPES } from "../../memory/frame-table.ts";
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { refersToFrame } from "./shadow-entry.ts";
import { ShadowType, isFakeLeafType, isLeafType, pagesOfType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const WRITABLE = 2;
const ENTRIES = 512;

/** Makes and destroys shadows. Callers hold the paging lock. */
export class Destruction {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** A new, empty shadow of a guest page, or of the superpage at a gfn for fl1 types. Pages were preallocated. */
  make(frame: number, type: number): Mfn {
    const { pool, hash, pages, references, counters } = this.#shadow;
    counters.add(Counter.make_shadow);
    const shadow = pool.alloc(type, pagesOfType(type), frame);
    if (type === ShadowType.l4_64) references.reconsiderLevel3Pins();
    if (!isFakeLeafType(type)) {
      this.#promote(mfn(frame), type);
      pages.getReference(mfn(frame));
    }
    hash.insertShadow(frame, type, shadow);
    return shadow;
  }

  /** Takes a shadow out of the hash, drops what its entries refer to and frees its pages. */
  destroy(shadow: Mfn): void {
    const { frames, hash, pages, counters, pool } = this.#shadow;
    counters.add(Counter.destroy_shadow);
    const type = frames.type(shadow);
    const frame = frames.back(shadow);
    const wasRegistered = hash.remove(frame, type, shadow);
    if (!isFakeLeafType(type)) {
      this.#demote(mfn(frame), type);
      if (wasRegistered) pages.putReference(mfn(frame));
    }
    const step = type === ShadowType.l2_32 ? 2 : 1;
    for (let page = shadow; page !== 0; page = frames.sibling(page)) this.#dropEntries(page, type, step);
    pool.free(shadow);
  }

  #dropEntries(page: Mfn, type: number, step: number): void {
    const { memory, pages, references, vram } = this.#shadow;
    const isLeaf = isLeafType(type);
    const isTracked = isLeaf && vram.isOn();
    for (let slot = 0; slot < ENTRIES; slot += step) {
      const cell = (page << 10) | (slot << 1);
      const low = memory.loadEntry(cell);
      if ((low & PRESENT) === 0) continue;
      const high = memory.high;
      const target = this.#shadow.frameIn(low, high);
      if (isTracked) vram.replaceLeaf(cell, 0, 0);
      if (!isLeaf) references.putShadow(target, cell);
      else if (refersToFrame(low, high)) pages.putMapping(target, (low & WRITABLE) !== 0);
    }
  }

  #promote(frame: Mfn, type: number): void {
    const { frames, vcpu, freeWalk, outOfSync, switches } = this.#shadow;
    if ((frames.shadowFlags(frame) & SHADOWED) === 0) freeWalk.noteChange();
    outOfSync.resyncPage(frame);
    if (frames.typecount(frame) !== 0) {
      vcpu.reportViolation(
        "typecount",
        `mfn 0x${frame.toString(16)} becomes a pagetable while ${String(frames.typecount(frame))} writable mappings remain`,
      );
    }
    if (switches["pagetable-dying"] && (frames.shadowFlags(frame) & SHADOWED) === 0)
      frames.setDying(frame, 0);
    frames.setShadowFlags(frame, frames.shadowFlags(frame) | SHADOWED | (1 << type));
  }

  #demote(frame: Mfn, type: number): void {
    const { frames, outOfSync } = this.#shadow;
    const left = frames.shadowFlags(frame) & ~(1 << type);
    if ((left & SHADOW_TYPES) !== 0) {
      frames.setShadowFlags(frame, left);
      return;
    }
    outOfSync.countAnew(frame);
    if ((left & OUT_OF_SYNC) !== 0) outOfSync.forget(frame);
    frames.setShadowFlags(frame, left & ~(SHADOWED | OUT_OF_SYNC | MAY_WRITE));
  }
}
