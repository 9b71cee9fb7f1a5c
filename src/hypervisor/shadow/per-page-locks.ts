/**
 * Per-page locks (the talk's last slide; docs/per-page-locks.md): demand faults and stores to level 1 tables hold the
 * paging lock in part, with the lock of the one guest table that they change, and for what a page's record counts the lock
 * of the page. Everything else holds it whole, and finds nobody inside.
 *
 * While a part is held no table becomes one, is unshadowed or gets another place in a tree, no frame changes hands, and
 * nobody waits for a flush: all of that is done by who holds the whole. So what a part is held for needs one table lock.
 */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { SHADOW_TYPES } from "../../memory/frame-table.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { frameOfEntry } from "../../machine/entry.ts";
import { Operation } from "../../machine/exits.ts";
import type { PageLock } from "../../locks/page-lock.ts";
import type { Parts } from "../../locks/parts.ts";
import { LEAF_TYPES, fakeLeafTypeOf, isFakeLeafType, leafTypeOf, superpagePages } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PAGING_PARTS = Counter.paging_parts;
const TABLE_LOCKS = Counter.table_locks;
const FRAME_LOCKS = Counter.frame_locks;
const WRITABLE = 2;
const HALF_ENTRY_BYTES = 4;

/** Parts of the paging lock, and the locks that are held in part, as one vCPU sees them. */
export interface PageLocks {
  readonly parts: Parts;
  readonly tableLock: PageLock;
  readonly frameLock: PageLock;
}

/** Takes parts of the paging lock for one vCPU, where that is enough. */
export class PerPageLocks {
  /** Whether the machine has such locks at all. */
  readonly isOn: boolean;
  readonly locks: PageLocks;
  readonly #shadow: Shadow;

  constructor(shadow: Shadow, locks: PageLocks) {
    this.locks = locks;
    this.#shadow = shadow;
    this.isOn = shadow.config.granularity === "page";
  }

  /** Whether this vCPU holds a part now. */
  isIn(): boolean {
    return this.locks.parts.isIn;
  }

  /** Takes a part. False, and nothing is held, while somebody wants to know what is written: that is counted in the whole. */
  tryBegin(site: number): boolean {
    const { logDirty, counters } = this.#shadow;
    const { parts } = this.locks;
    counters.add(PAGING_PARTS);
    parts.begin(site);
    if (!logDirty.isWatching()) return true;
    parts.end();
    return false;
  }

  /** Gives the part up. */
  end(): void {
    this.locks.parts.end();
  }

  /** Takes the lock of a guest table. Callers hold a part. */
  lockTable(table: Mfn, site: number): void {
    this.#shadow.counters.add(TABLE_LOCKS);
    this.locks.tableLock.acquire(table, site);
  }

  /** Gives it up. */
  unlockTable(): void {
    this.locks.tableLock.release();
  }

  /** Takes the lock of a frame. Callers hold a part. */
  lockFrame(frame: Mfn, site: number): void {
    this.#shadow.counters.add(FRAME_LOCKS);
    this.locks.frameLock.acquire(frame, site);
  }

  /** Gives it up. */
  unlockFrame(): void {
    this.locks.frameLock.release();
  }

  /**
   * Cell of the shadow's leaf entry for the address that was walked; 0 when a shadow on the way has yet to be made, or does
   * not let the page be written. Callers hold a part, in which they have walked.
   */
  leafCell(format: number, isWrite: boolean): number {
    const { vcpu, tables, frames, memory, guest } = this.#shadow;
    const { walker } = guest;
    if (!tables.findLeaf(vcpu.faultLow, vcpu.faultHigh)) return 0;
    const isLarge = walker.leafLevel === 2;
    // All restriction of a superpage lies a level above its entries.
    if (isLarge && isWrite && (memory.loadEntry(tables.level2Cell) & WRITABLE) === 0) return 0;
    const shadowed = isLarge
      ? frameOfEntry(walker.entryLow[2] ?? 0, walker.entryHigh[2] ?? 0) & -superpagePages(format)
      : (walker.tableMfn[1] ?? -1);
    const cell = tables.leafCell;
    const leaf = mfn(cell >>> 10);
    // Linked by a vCPU with another CR4.PSE, it is that of another size: what is filled in here must not go there.
    const type = isLarge ? fakeLeafTypeOf(format) : leafTypeOf(format);
    return frames.type(leaf) === type && frames.back(leaf) === shadowed ? cell : 0;
  }

  /** Whose table lock guards the entries of a leaf's shadow: the guest table's, or that of the page itself if there is none. */
  tableOfLeaf(cell: number): Mfn {
    const { frames } = this.#shadow;
    const leaf = mfn(cell >>> 10);
    return isFakeLeafType(frames.type(leaf)) ? leaf : mfn(frames.back(leaf));
  }

  /**
   * Whether a demand fault that leads to a page can be answered in part: a store to a table that unshadows it cannot. Callers
   * hold a part.
   */
  mayAnswer(frame: Mfn, isUserWrite: boolean): boolean {
    const { pages, switches, frames } = this.#shadow;
    if (frame === NO_MFN) return true;
    // The mark of a dying process's root outlives its shadows, and whoever meets it takes the whole.
    if (switches["pagetable-dying"] && frames.dying(frame) !== 0) return false;
    return !isUserWrite || !pages.isPagetable(frame);
  }

  /**
   * Holds what the emulator's store to a page needs: a part and the table's lock, or the whole. With `crosses` the store goes
   * to a second page, too.
   */
  beginStore(site: number, page: Mfn, crosses: boolean): void {
    const { lock } = this.#shadow;
    if (this.isOn && !crosses && page !== NO_MFN && this.tryBegin(site)) {
      if (this.mayStore(page)) {
        this.lockTable(page, site);
        return;
      }
      this.end();
    }
    lock.acquire(site);
  }

  /** Gives up what `beginStore` took. */
  endStore(): void {
    if (!this.isIn()) {
      this.#shadow.lock.release();
      return;
    }
    this.unlockTable();
    this.end();
  }

  /** Holds what reading the guest's memory needs, so that no frame gets another owner: a part, or the whole. */
  beginRead(site: number): void {
    if (!this.isOn || !this.tryBegin(site)) this.#shadow.lock.acquire(site);
  }

  /** Gives up what `beginRead` took. */
  endRead(): void {
    if (this.isIn()) this.end();
    else this.#shadow.lock.release();
  }

  /**
   * Whether the operation in flight may store to a page in part: to level 1 tables only, and nothing after which the page may
   * lose its shadows. Callers hold a part.
   */
  protected mayStore(page: Mfn): boolean {
    const { frames, vcpu } = this.#shadow;
    const { addressLow, size } = vcpu;
    if ((addressLow & (size - 1)) !== 0) return false;
    if ((frames.shadowFlags(page) & SHADOW_TYPES & ~LEAF_TYPES) !== 0) return false;
    return size < HALF_ENTRY_BYTES || !this.#mayStoreZero() || !this.#isZeroTooMuch(page);
  }

  /** Whether the store may leave a zero where an entry begins: what other operations leave is not known before. */
  #mayStoreZero(): boolean {
    const { vcpu, guest } = this.#shadow;
    if ((vcpu.addressLow & (guest.format() === 2 ? 3 : 7)) !== 0) return false;
    return vcpu.operation !== Operation.store || vcpu.valueLow === 0;
  }

  /** Whether a zero, now, may make the page one that is being cleared (spec 4.11). */
  #isZeroTooMuch(page: Mfn): boolean {
    const { memory, vcpu, switches, domain, pages } = this.#shadow;
    if (!switches["early-unshadow"] || !pages.isPagetable(page)) return false;
    if (switches["pagetable-dying"] && domain.read(DomainCell.dyingAnnounced) !== 0) return true;
    return memory.loadGuarded(vcpu.area + VcpuCell.lastEmulatedFrame) === page;
  }
}
