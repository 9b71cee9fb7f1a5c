/**
 * The domctl that tracks a frame buffer (spec 11.8): a display asks again and again which of its pages have changed, so as
 * to draw only those. A call of its own beside the log of dirty pages: it neither pauses the domain nor throws mappings
 * away once tracking has begun.
 *
 * Nothing here reads a clock: whoever asks says what time it is.
 */
import { Counter } from "../memory/counters.ts";
import { DomainCell, DomctlAnswer } from "../memory/domain-area.ts";
import { VcpuCell, VcpuState } from "../memory/vcpu-area.ts";
import { LockSite } from "../locks/lock-class.ts";
import type { LogDirtyParts } from "./log-dirty-control.ts";

/** One caller's way to the tracking of a frame buffer. */
export class VramControl {
  /** Pages that the last look told to have changed. */
  dirtyPages = 0;
  readonly #parts: LogDirtyParts;

  constructor(parts: LogDirtyParts) {
    this.#parts = parts;
  }

  /**
   * Which of the `pages` pages from gfn `first` on have changed since the last call: a bit for each, in whole words. The
   * first call for a range answers `noData`, and ends the tracking of any other; one for no pages only does the latter.
   * `milliseconds` is the caller's time, of any beginning. Answers a `DomctlAnswer`.
   */
  track(first: number, pages: number, bitmap: Int32Array, milliseconds: number): number {
    const { vcpu, lock, ramPages } = this.#parts;
    if (!isRange(first, pages, ramPages)) return DomctlAnswer.badRange;
    if (bitmap.length !== Math.ceil(pages / 32)) return DomctlAnswer.badBitmap;
    const isItself = vcpu.id < vcpu.layout.sizes.vcpus;
    if (isItself && vcpu.memory.loadWord(vcpu.area + VcpuCell.state) === VcpuState.running)
      return DomctlAnswer.onItself;
    lock.acquire(LockSite.domctl);
    const answer = this.#look(first, pages, bitmap, milliseconds);
    lock.release();
    return answer;
  }

  #look(first: number, pages: number, bitmap: Int32Array, milliseconds: number): number {
    const { domain, paging, vcpu } = this.#parts;
    if (domain.isDead()) return DomctlAnswer.dying;
    if (domain.read(DomainCell.domctlCaller) !== 0) return DomctlAnswer.busy;
    const { vram } = paging.logDirty;
    if (pages === 0) {
      vram.stopTracking();
      return DomctlAnswer.done;
    }
    vcpu.counters.add(Counter.vram_looks);
    if (!vram.isRange(first, pages)) {
      paging.beginVram(first, pages, milliseconds);
      return DomctlAnswer.noData;
    }
    this.dirtyPages = paging.lookAtVram(bitmap, milliseconds);
    for (let count = 0; count < this.dirtyPages; count++) vcpu.counters.add(Counter.vram_dirty);
    return DomctlAnswer.done;
  }
}

/** Whether pages are some of the guest's, or none. */
function isRange(first: number, pages: number, ramPages: number): boolean {
  if (!Number.isInteger(first) || !Number.isInteger(pages)) return false;
  return first >= 0 && pages >= 0 && first + pages <= ramPages;
}
