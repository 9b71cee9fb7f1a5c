/**
 * Revoking write access to a page that becomes a pagetable (spec 6): guesses where the kernel maps it, then the shadow
 * where one was found last, then every leaf table there is. The typecount alone says when the job is done.
 */
import { Counter } from "../../memory/counters.ts";
import { CrashReason } from "../../memory/domain-area.ts";
import { PageType } from "../../memory/frame-table.ts";
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import type { ShadowVisitor } from "./hash.ts";
import { Guesses } from "./revoke-guesses.ts";
import { refersToFrame } from "./shadow-entry.ts";
import { LEAF_TYPES, isLeafType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const WRITABLE = 2;
const ENTRIES = 512;

/** What `revokeWriteAccess` answers: nothing to do, a flush is owed, or (level 0 only) a writer could not be found. */
export const Revoked = { nothing: 0, flush: 1, failed: -1 } as const;

/** Removes writable mappings. Callers hold the paging lock and flush when told so. */
export class Revocation implements ShadowVisitor {
  readonly #shadow: Shadow;
  readonly #guesses: Guesses;
  #frame: Mfn = mfn(0);

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
    this.#guesses = new Guesses(shadow);
  }

  /**
   * Takes write access to a page from every mapping. `level` is what the page becomes (1 to 4), 0 for another reason;
   * the fault address helps to guess where a linear map shows the table.
   */
  revokeWriteAccess(frame: Mfn, level: number, faultLow: number, faultHigh: number): number {
    const { frames, counters, pages, domain, switches, outOfSync } = this.#shadow;
    if (pages.isPagetable(frame) && !outOfSync.mayWrite(frame)) return Revoked.nothing;
    if (frames.typecount(frame) === 0) return this.#flushFormerWriters(frame);
    counters.add(Counter.writeable);
    if (frames.pageType(frame) !== PageType.writable) domain.crash(CrashReason.notWritableType, frame);

    if (switches["writable-heuristic"] && this.#shadow.isGuestVcpu)
      if (this.#guesses.tryAll(frame, level, faultLow, faultHigh)) return Revoked.flush;
    if (switches["last-writable-hint"] && this.#tryLastWritable(frame)) return Revoked.flush;

    counters.add(level === 0 ? Counter.writeable_bf_1 : Counter.writeable_bf);
    this.#frame = frame;
    this.#shadow.hash.visitAll(LEAF_TYPES, this);
    if (frames.typecount(frame) !== 0) {
      if (level === 0) return Revoked.failed;
      domain.crash(CrashReason.unfindableWritableMapping, frame);
    }
    return Revoked.flush;
  }

  /**
   * A TLB may still let a page be written that no leaf lets be written any more: the guest took the mapping away and has
   * yet to flush it. Xen leaves that to the guest, but then a store by the stale translation goes unseen. Whoever has
   * not flushed since the last writable mapping went does so now; if there was one, the walk must be looked at again.
   */
  #flushFormerWriters(frame: Mfn): number {
    const { frames, vcpu } = this.#shadow;
    const since = frames.timestamp(frame);
    return since !== 0 && vcpu.mailbox.flushWhere(since, true) > 0 ? Revoked.flush : Revoked.nothing;
  }

  /** Brute force: clears the writable mappings of the page in one shadow; true when none is left anywhere. */
  visit(shadow: Mfn): boolean {
    const { frames } = this.#shadow;
    if (this.#clearIn(shadow, this.#frame)) this.#rememberLastWritable(shadow);
    return frames.typecount(this.#frame) === 0;
  }

  #tryLastWritable(frame: Mfn): boolean {
    const { memory, frames, vcpu, counters } = this.#shadow;
    const last = mfn(memory.loadGuarded(vcpu.area + VcpuCell.lastWritableShadow));
    if (last === 0 || !isLeafType(frames.type(last))) return false;
    if (this.#clearIn(last, frame)) counters.add(Counter.writeable_h_5);
    return frames.typecount(frame) === 0;
  }

  /** Clears RW in every entry of a leaf shadow that maps the page; whether there was one. */
  #clearIn(shadow: Mfn, frame: Mfn): boolean {
    const { memory, frames, entries } = this.#shadow;
    let found = false;
    for (let page = shadow; page !== 0; page = frames.sibling(page)) {
      for (let slot = 0; slot < ENTRIES; slot++) {
        const cell = (page << 10) | (slot << 1);
        const low = memory.loadEntry(cell);
        const { high } = memory;
        if ((low & WRITABLE) === 0 || !refersToFrame(low, high)) continue;
        if (this.#shadow.frameIn(low, high) !== frame) continue;
        entries.setLeaf(cell, low & ~WRITABLE, high);
        found = true;
        if (frames.typecount(frame) === 0) return true;
      }
    }
    return found;
  }

  #rememberLastWritable(shadow: Mfn): void {
    const { memory, vcpu } = this.#shadow;
    memory.storeGuarded(vcpu.area + VcpuCell.lastWritableShadow, shadow);
  }
}
