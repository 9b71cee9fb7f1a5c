/**
 * The optimistic walk of the guest's tables (spec 4.6): read a version, walk without the lock, take the lock, and walk
 * again if what was read may have changed. Also the comparison of a walk with memory, which a locked walk needs too when
 * it has taken write access away.
 *
 * Xen raises the version after an emulated write and after a revocation by a fault. Here whatever changes a guest table,
 * or makes a page one, does: a page becomes a pagetable without a revocation if nothing maps it for writing any more, and
 * what was stored to it before went unseen.
 */
import { Counter } from "../../memory/counters.ts";
import type { Shadow } from "./shadow.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const CHECK_GWALK = Counter.check_gwalk;
const INCONSISTENT_GWALK = Counter.inconsistent_gwalk;

/** Whether the walk in `guest.walker` still says what the guest's tables say. */
export class LockFreeWalk {
  readonly #shadow: Shadow;
  #version = 0;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** A walk without the lock is about to begin. */
  begin(): void {
    this.#version = this.#shadow.domain.tableVersion();
  }

  /** A guest table has changed, or has become one. Callers hold the paging lock. */
  noteChange(): void {
    const { switches, domain, perPage } = this.#shadow;
    if (switches["lock-free-walk"] && !perPage.isOn) domain.raiseTableVersion();
  }

  /**
   * Whether the walk since `begin` may be trusted. `hasNewTable`: a table of it was no pagetable until now, so that stores
   * to it went unseen. Callers hold the paging lock and have revoked write access to the walked tables.
   */
  isTrusted(hasNewTable: boolean): boolean {
    const { perPage, domain } = this.#shadow;
    // With per-page locks there is no version: it would be one word that every store writes.
    if (!perPage.isOn && !hasNewTable && this.#version === domain.tableVersion()) return true;
    return this.compare();
  }

  /** Reads every entry of the walk again, from the top. Callers hold the paging lock. */
  compare(): boolean {
    const { guest, counters } = this.#shadow;
    const { walker } = guest;
    const format = guest.format();
    counters.add(CHECK_GWALK);
    for (let level = format === 3 ? 2 : format; level >= walker.leafLevel; level--)
      if (!this.#isSame(level, format)) {
        counters.add(INCONSISTENT_GWALK);
        return false;
      }
    return true;
  }

  /**
   * Reads the leaf entry alone again: another vCPU may have set A in it, which is no change that raises the version, and
   * so kept the walk from setting D, which the walk's copy has all the same (spec 20.7). To be asked right before the leaf
   * is propagated.
   */
  isLeafStillTrue(): boolean {
    const { guest, counters } = this.#shadow;
    if (this.#isSame(guest.walker.leafLevel, guest.format())) return true;
    counters.add(INCONSISTENT_GWALK);
    return false;
  }

  /** Whether the table of a level is still where it was, and its entry what it was. */
  #isSame(level: number, format: number): boolean {
    const { guest, tables, p2m, switches } = this.#shadow;
    const { walker } = guest;
    const table = walker.tableFrame[level] ?? 0;
    // Under the lock the p2m stands still. The root, which has no frame number here, is this vCPU's own to change.
    if (switches["lock-free-walk"] && table >= 0 && p2m.frameOf(table) !== walker.tableMfn[level])
      return false;
    const cell = walker.entryCell[level] ?? 0;
    const index = format === 2 ? cell & 1023 : (cell & 1023) >>> 1;
    tables.readGuest(cell >>> 10, index, format);
    return tables.guestLow === walker.entryLow[level] && tables.guestHigh === walker.entryHigh[level];
  }
}
