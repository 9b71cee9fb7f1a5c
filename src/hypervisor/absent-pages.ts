/**
 * What a vCPU does about a page that it needs and that is not there (spec 4.6 step 6, 5.1): one that is to be populated on
 * demand gets a frame, all zero, and for one that the pager has the vCPU asks the pager and waits. Whoever meets such a
 * page, a walk, the fault handler or the emulator, notes it and gives up; once no lock is held the page is brought back,
 * and the operation executes again from its start.
 */
import { Counter } from "../memory/counters.ts";
import { DomainCell } from "../memory/domain-area.ts";
import { Doorbell, VcpuCell } from "../memory/vcpu-area.ts";
import { LockSite } from "../locks/lock-class.ts";
import { P2mChanges } from "./p2m-changes.ts";
import { P2mType, isAbsentEntry, typeInP2mEntry } from "./p2m-type.ts";
import type { PagingBase } from "./paging-base.ts";
import type { PagingInterface } from "./paging-interface.ts";

const NOTHING = -1;

/** Notes which page a vCPU lacks. */
export class WantedPage {
  /** Gfn of the page that the operation in flight needs, -1 for none. */
  gfn = NOTHING;
  /** Whether it is there, but its first write is to be noted before it is done. */
  isWritten = false;
}

/** Brings pages back for one vCPU. Its caller holds no lock. */
export class AbsentPages {
  readonly #base: PagingBase;
  readonly #changes: P2mChanges;

  constructor(base: PagingBase, paging: PagingInterface) {
    this.#base = base;
    this.#changes = new P2mChanges(base, paging);
  }

  /** Brings back the page that was noted. False when there is no frame for it: then the guest gets a fault. */
  bringBack(): boolean {
    const { wanted, p2m, p2mLock, vcpu } = this.#base;
    const { gfn, isWritten } = wanted;
    wanted.gfn = NOTHING;
    wanted.isWritten = false;
    p2mLock.acquire(LockSite.p2m_write);
    const entry = p2m.entryOf(gfn);
    let isThere = true;
    // Somebody else may have brought it back meanwhile.
    if (typeInP2mEntry(entry) === P2mType.populateOnDemand) {
      isThere = this.#changes.giveFilled(gfn, entry, P2mType.ramRw, 0);
      if (isThere) vcpu.counters.add(Counter.populated_on_demand);
    } else if (isWritten && typeInP2mEntry(entry) === P2mType.ramLogdirty) this.#noteWrite(gfn, entry);
    else if (isAbsentEntry(entry)) this.#ask(gfn, entry);
    p2mLock.release();
    if (vcpu.register(VcpuCell.wantedPage) !== 0) this.#awaitPage(gfn);
    return isThere;
  }

  /** The first write to a page whose writes are noted: it is so no more (Xen does the same, where hardware walks the p2m). */
  #noteWrite(gfn: number, entry: number): void {
    this.#base.vcpu.counters.add(Counter.logdirty_type_faults);
    this.#changes.retype(gfn, entry, P2mType.ramRw);
  }

  /** Asks the pager for a page: one that it was about to take away it lets be. */
  #ask(gfn: number, entry: number): void {
    const { vcpu } = this.#base;
    if (typeInP2mEntry(entry) !== P2mType.pagingIn) this.#changes.retype(gfn, entry, P2mType.pagingIn);
    vcpu.counters.add(Counter.page_requests);
    vcpu.setRegister(VcpuCell.wantedPage, gfn + 1);
  }

  /** Stands still until the pager has answered, as a paused vCPU does: it executes nothing and holds nothing up. */
  #awaitPage(gfn: number): void {
    const { memory, layout, p2m, vcpu, domain } = this.#base;
    const cell = layout.regions.domain.offset + DomainCell.pageIns;
    for (;;) {
      const seen = memory.loadWord(cell);
      if (typeInP2mEntry(p2m.entryOf(gfn)) !== P2mType.pagingIn || domain.isDead()) break;
      if ((memory.loadWord(vcpu.area + VcpuCell.doorbell) & Doorbell.stop) !== 0) break;
      vcpu.parking.parkWhile(cell, seen);
    }
    vcpu.setRegister(VcpuCell.wantedPage, 0);
  }
}
