/**
 * Which pages the guest, or anybody for it, has written since the last harvest (spec 11). This is what every mode of
 * paging assistance shares: the tree of dirty pages and its marks, under the mode's lock. How a mode notices writes is
 * its own business, behind the paging interface.
 */
import { Counter } from "../memory/counters.ts";
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse } from "../memory/frame-table.ts";
import type { FrameTable } from "../memory/frame-table.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { LockSite } from "../locks/lock-class.ts";
import type { RecursiveLock } from "../locks/lock.ts";
import type { CounterSet } from "../machine/counter-set.ts";
import type { Walker } from "../machine/walker.ts";
import { DIRTY_TREE_LEVELS, DirtyTrees } from "./dirty-tree.ts";
import type { NodePages } from "./dirty-tree.ts";
import type { Domain } from "./domain.ts";
import type { MachineConfig } from "./machine-config.ts";
import { VramLog } from "./vram-log.ts";

const SITE_LOG_DIRTY = LockSite.log_dirty;
const TOP_LEVEL = 4;

/** What logging is built on. */
export interface LogDirtyBase {
  readonly memory: SharedMemory;
  readonly layout: Layout;
  readonly domain: Domain;
  readonly frames: FrameTable;
  readonly lock: RecursiveLock;
  readonly counters: CounterSet;
  readonly config: MachineConfig;
}

/** The log of one domain, as one thread sees it. */
export class LogDirty {
  readonly base: LogDirtyBase;
  readonly trees: DirtyTrees;
  /** The frame buffer that a display watches beside it. */
  readonly vram: VramLog;
  readonly #pages: NodePages;

  constructor(base: LogDirtyBase, pages: NodePages) {
    this.base = base;
    this.#pages = pages;
    this.vram = new VramLog(base);
    this.trees = new DirtyTrees(base.memory, pages, base.config.ramPages);
  }

  /** Whether writes are logged. Without the lock it may have changed by the time that it is acted upon. */
  isOn(): boolean {
    return this.base.domain.read(DomainCell.logDirty) !== 0;
  }

  /** Whether anybody wants to know what is written to memory: the log, or a display. Without the lock as `isOn`. */
  isWatching(): boolean {
    return this.isOn() || this.vram.isOn();
  }

  /** A page of the guest has been, or is about to be, written. Takes the lock; may be called with it held. */
  markPage(gfn: number): void {
    if (!this.isWatching()) return;
    const { lock } = this.base;
    lock.acquire(SITE_LOG_DIRTY);
    this.#note(gfn);
    lock.release();
  }

  /** The same by machine frame. One that is no page of the guest's memory counts for nothing. */
  markFrame(frame: Mfn): void {
    if (!this.isWatching()) return;
    const { lock, frames } = this.base;
    lock.acquire(SITE_LOG_DIRTY);
    const gfn = frames.back(frame);
    if (frames.use(frame) === FrameUse.guest && gfn >= 0) this.#note(gfn);
    lock.release();
  }

  /** The tables in which a walk for the guest has set A or D. */
  markWalk(walker: Walker): void {
    if (walker.writtenLevels === 0 || !this.isWatching()) return;
    for (let level = 1; level <= TOP_LEVEL; level++)
      if (((walker.writtenLevels >>> level) & 1) !== 0)
        this.markFrame(mfn((walker.entryCell[level] ?? 0) >>> 10));
  }

  /** Whether there are pages for two trees, of a harvest and of what is written meanwhile. Callers hold the lock. */
  hasRoom(): boolean {
    return this.#pages.canLend(2 * DIRTY_TREE_LEVELS);
  }

  /** Whether a page has been written since the last harvest. Callers hold the lock. */
  isDirty(gfn: number): boolean {
    return this.trees.isSet(mfn(this.base.domain.read(DomainCell.dirtyTree)), gfn);
  }

  /** Takes all marks away, for a harvest to hand over: from now on every page counts as clean. Callers hold the lock. */
  takeMarks(): void {
    const { domain } = this.base;
    domain.write(DomainCell.harvestTree, domain.read(DomainCell.dirtyTree));
    domain.write(DomainCell.harvestCount, domain.read(DomainCell.dirtyCount));
    domain.write(DomainCell.harvestFailed, domain.read(DomainCell.failedMarks));
    domain.write(DomainCell.harvestFaults, domain.read(DomainCell.dirtyFaults));
    this.#forgetMarks();
  }

  /** The harvest has been handed over. Callers hold the lock. */
  dropHarvest(): void {
    const { domain } = this.base;
    this.trees.release(mfn(domain.read(DomainCell.harvestTree)));
    domain.write(DomainCell.harvestTree, 0);
    domain.write(DomainCell.harvestCount, 0);
    domain.write(DomainCell.harvestFailed, 0);
    domain.write(DomainCell.harvestFaults, 0);
  }

  /** Ends logging and gives all of its pages back. Callers hold the lock. */
  discard(): void {
    const { domain } = this.base;
    domain.write(DomainCell.logDirty, 0);
    this.dropHarvest();
    this.trees.release(mfn(domain.read(DomainCell.dirtyTree)));
    this.#forgetMarks();
  }

  /** Asked again: logging may have ended, and its tree be gone, before the lock was ours (Xen, March 2007). */
  #note(gfn: number): void {
    if (this.isOn()) this.#mark(gfn);
    this.vram.noteWrite(gfn);
  }

  #forgetMarks(): void {
    const { domain } = this.base;
    domain.write(DomainCell.dirtyTree, 0);
    domain.write(DomainCell.dirtyCount, 0);
    domain.write(DomainCell.failedMarks, 0);
    domain.write(DomainCell.dirtyFaults, 0);
  }

  /** A page of the tree that cannot be had is no reason to stop the guest: the harvest will say so. */
  #mark(gfn: number): void {
    const { domain, counters } = this.base;
    const leaf = this.#leafFor(gfn);
    if (leaf === 0) {
      domain.increase(DomainCell.failedMarks, 1);
      counters.add(Counter.dirty_marks_failed);
    } else if (this.trees.setBit(leaf, gfn)) {
      domain.increase(DomainCell.dirtyCount, 1);
      counters.add(Counter.dirty_marks);
    }
  }

  #leafFor(gfn: number): Mfn {
    const { domain } = this.base;
    let top = mfn(domain.read(DomainCell.dirtyTree));
    if (top === 0) {
      top = this.#pages.lendPage();
      if (top === 0) return top;
      domain.write(DomainCell.dirtyTree, top);
    }
    return this.trees.makeLeaf(top, gfn);
  }
}
