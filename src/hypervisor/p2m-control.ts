/**
 * What the toolstack can do to the types of the guest's pages (spec 12.5): make them read-only, have their writes noted,
 * populate them on demand, map a device's memory, and page them out and in.
 *
 * A pager nominates a page, copies it, and evicts it, unless somebody has wanted it meanwhile; it looks for requests, and
 * answers each with what the page held. Its own accesses to a page that is away find nothing there.
 */
import { Counter } from "../memory/counters.ts";
import { vcpuId } from "../memory/units.ts";
import { NO_MFN } from "../memory/units.ts";
import { VcpuCell, vcpuArea } from "../memory/vcpu-area.ts";
import { LockSite } from "../locks/lock-class.ts";
import type { RecursiveLock } from "../locks/lock.ts";
import { P2mChanges } from "./p2m-changes.ts";
import type { PageContents } from "./p2m-changes.ts";
import { P2mType, frameInP2mEntry, isAbsentEntry, ramInP2mEntry, typeInP2mEntry } from "./p2m-type.ts";
import type { PagingBase } from "./paging-base.ts";
import type { PagingInterface } from "./paging-interface.ts";

/** The toolstack's way to the types of pages. A call that makes no sense for the page as it is answers false. */
export class P2mControl {
  readonly base: PagingBase;
  readonly changes: P2mChanges;
  readonly p2mLock: RecursiveLock;

  constructor(base: PagingBase, paging: PagingInterface, p2mLock: RecursiveLock) {
    this.base = base;
    this.changes = new P2mChanges(base, paging);
    this.p2mLock = p2mLock;
  }

  /** Gives memory another type that memory can have: read-write, read-only, or log-dirty. */
  setType(gfn: number, type: number): boolean {
    const entry = this.begin(gfn);
    const isPossible =
      ramInP2mEntry(entry) !== NO_MFN && type >= P2mType.ramRw && type <= P2mType.ramLogdirty;
    if (isPossible && typeInP2mEntry(entry) !== type) this.changes.retype(gfn, entry, type);
    return this.end(isPossible, Counter.p2m_retyped);
  }

  /** The page loses what is in it, and is all zero when it is next used. */
  populateOnDemand(gfn: number): boolean {
    const entry = this.begin(gfn);
    const isPossible =
      gfn >= 0 &&
      gfn < this.base.p2m.ramPages &&
      (typeInP2mEntry(entry) === P2mType.mmioDm || ramInP2mEntry(entry) !== NO_MFN);
    if (isPossible) this.changes.takeFrame(gfn, entry, P2mType.populateOnDemand);
    return this.end(isPossible, Counter.p2m_retyped);
  }

  /** Puts a page of a device's memory, all zero, where the guest has none. False also when the machine has no frame left. */
  mapDevice(gfn: number): boolean {
    const entry = this.begin(gfn);
    const isFree = gfn >= 0 && gfn < this.base.p2m.ramPages && typeInP2mEntry(entry) === P2mType.mmioDm;
    const isMapped = isFree && this.changes.giveFilled(gfn, entry, P2mType.mmioDirect, 0);
    return this.end(isMapped, Counter.p2m_retyped);
  }

  /** The pager is about to take a page of read-write memory away: from now on nobody uses it without asking. */
  nominate(gfn: number): boolean {
    const entry = this.begin(gfn);
    const isPossible = typeInP2mEntry(entry) === P2mType.ramRw;
    if (isPossible) this.changes.retype(gfn, entry, P2mType.pagingOut);
    return this.end(isPossible, Counter.p2m_retyped);
  }

  /** The pager has a copy: the frame goes. False when somebody has wanted the page since it was nominated. */
  evict(gfn: number): boolean {
    const entry = this.begin(gfn);
    const isPossible = typeInP2mEntry(entry) === P2mType.pagingOut;
    if (isPossible) this.changes.takeFrame(gfn, entry, P2mType.paged);
    return this.end(isPossible, Counter.paged_out);
  }

  /**
   * The page is back, with its contents if it had gone. False when it is not away, or when the machine has no frame left; who
   * waits for it then waits on.
   */
  load(gfn: number, contents: PageContents): boolean {
    const entry = this.begin(gfn);
    const isAway = isAbsentEntry(entry) && typeInP2mEntry(entry) !== P2mType.populateOnDemand;
    let isBack = isAway;
    if (isAway && frameInP2mEntry(entry) !== NO_MFN) this.changes.retype(gfn, entry, P2mType.ramRw);
    else if (isAway) isBack = this.changes.giveContents(gfn, entry, P2mType.ramRw, contents);
    return this.end(isBack, Counter.paged_in);
  }

  /** A page that some vCPU waits for, -1 for none. */
  request(): number {
    const { memory, layout, config, p2m } = this.base;
    for (let id = 0; id < config.vcpus; id++) {
      const gfn = memory.loadWord(vcpuArea(layout, vcpuId(id)) + VcpuCell.wantedPage) - 1;
      if (gfn >= 0 && typeInP2mEntry(p2m.entryOf(gfn)) === P2mType.pagingIn) return gfn;
    }
    return -1;
  }

  /** The type of a page, a `P2mType`. */
  typeOf(gfn: number): number {
    return typeInP2mEntry(this.base.p2m.entryOf(gfn));
  }

  /** Takes the p2m lock and reads the entry of a gfn. */
  protected begin(gfn: number): number {
    this.p2mLock.acquire(LockSite.p2m_write);
    return this.base.p2m.entryOf(gfn);
  }

  /** Releases it, and counts what was done. */
  protected end(isDone: boolean, counter: number): boolean {
    if (isDone) this.base.vcpu.counters.add(counter);
    this.p2mLock.release();
    return isDone;
  }
}
