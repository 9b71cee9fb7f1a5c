/** References to guest pages from shadows, and the typecount of writable mappings (spec 1.2, 4.8b). */
import { Counter } from "../../memory/counters.ts";
import { MAY_WRITE, PageType, SHADOWED } from "../../memory/frame-table.ts";
import type { Mfn } from "../../memory/units.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { GuestPages } from "../guest-pages.ts";
import type { Shadow } from "./shadow.ts";

/** Counts references to guest pages, those of leaf entries too. Callers hold the paging lock, for leaf entries at least in part. */
export class PageReferences extends GuestPages {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    super(shadow);
    this.#shadow = shadow;
  }

  /** Whether a page is a pagetable for shadow purposes: shadowed, or the identity table of paging-off vCPUs. */
  isPagetable(frame: Mfn): boolean {
    const { frames } = this.#shadow;
    return (
      (frames.shadowFlags(frame) & SHADOWED) !== 0 || frames.pageType(frame) === PageType.identityPagetable
    );
  }

  /**
   * Takes the references of a leaf entry. At the first writable one the page stops being a pagetable: its shadows go
   * (the type-change hook, in the older form that runs at every 0 to 1), unless it is out of sync. False when the frame may
   * not be mapped so.
   */
  getMapping(frame: Mfn, writable: boolean): boolean {
    const { perPage } = this.#shadow;
    if (!perPage.isIn()) return this.#get(frame, writable);
    perPage.lockFrame(frame, LockSite.get_mapping);
    const isMapped = this.#get(frame, writable);
    perPage.unlockFrame();
    return isMapped;
  }

  /** Drops the references of a leaf entry. */
  putMapping(frame: Mfn, writable: boolean): void {
    const { perPage } = this.#shadow;
    if (!perPage.isIn()) {
      this.#put(frame, writable);
      return;
    }
    perPage.lockFrame(frame, LockSite.put_mapping);
    this.#put(frame, writable);
    perPage.unlockFrame();
  }

  #get(frame: Mfn, writable: boolean): boolean {
    const { frames, unshadow, counters } = this.#shadow;
    if (writable && frames.pageType(frame) === PageType.identityPagetable) return false;
    if (!this.getReference(frame)) {
      counters.add(Counter.get_page_fail);
      return false;
    }
    if (!writable) return true;
    const typecount = frames.typecount(frame);
    if (typecount === 0 && (frames.shadowFlags(frame) & (SHADOWED | MAY_WRITE)) === SHADOWED)
      unshadow.removeShadows(frame, false, true);
    frames.setPageType(frame, PageType.writable);
    frames.setTypecount(frame, typecount + 1);
    return true;
  }

  #put(frame: Mfn, writable: boolean): void {
    const { frames, vcpu } = this.#shadow;
    if (writable) {
      const typecount = frames.typecount(frame) - 1;
      if (typecount < 0)
        vcpu.reportViolation("counts", `typecount of page 0x${frame.toString(16)} falls below 0`);
      else frames.setTypecount(frame, typecount);
      if (typecount === 0) frames.setTimestamp(frame, vcpu.mailbox.time() || 1);
    }
    this.putReference(frame);
  }
}
