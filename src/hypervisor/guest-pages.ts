/** General references to guest pages, which every assistance mode counts alike (spec 1.2). */
import { isOfGuest } from "../memory/frame-table.ts";
import type { Mfn } from "../memory/units.ts";
import type { PagingBase } from "./paging-base.ts";

/** Counts references to guest pages. Callers hold the paging lock. */
export class GuestPages {
  readonly #base: PagingBase;

  constructor(base: PagingBase) {
    this.#base = base;
  }

  /** Takes a general reference; false when the frame is none that a guest may use. */
  getReference(frame: Mfn): boolean {
    const { frames } = this.#base;
    if (!isOfGuest(frames.use(frame))) return false;
    frames.setCount(frame, frames.count(frame) + 1);
    return true;
  }

  /** Drops a general reference; the last one frees the frame. */
  putReference(frame: Mfn): void {
    const { frames, heap, vcpu } = this.#base;
    const count = frames.count(frame) - 1;
    if (count < 0) {
      vcpu.reportViolation("counts", `reference count of page 0x${frame.toString(16)} falls below 0`);
      return;
    }
    frames.setCount(frame, count);
    if (count === 0) heap.free(frame);
  }
}
