/**
 * Locks of single pages, held for a few entries: one word each, which says who holds it. A vCPU holds at most one of a
 * kind (docs/per-page-locks.md), and holds it only in part of the paging lock, so that no holder waits for a flush.
 */
import { LOCK_NAMES, PAGE_LOCK_WORDS } from "../memory/layout.ts";
import type { CellGuard, Layout } from "../memory/layout.ts";
import { keysOf } from "../memory/records.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { HeldLocks } from "./held-locks.ts";
import { lockClassOf } from "./lock-class.ts";
import type { LockOwner } from "./lock-owner.ts";
import { PartCell, partCell } from "./parts.ts";

/** Offsets of the words of a page's locks: each 0, or the number of its holder plus 1; wait pairs. */
export const PageLockCell = {
  /** The entries of a guest table, and those of its shadows. */
  table: 0,
  /** What a frame's record counts. */
  frame: 2,
} as const;

/** The name of such a lock. */
export type PageLockName = keyof typeof PageLockCell;

/** Guard of the words. */
export const PAGE_LOCK_GUARD: CellGuard = {
  guard: "atomic",
  publishes: true,
  because: "taking the lock orders its holders",
};

const FREE = 0;

/** The word of a frame's lock. */
export function pageLockCell(layout: Layout, name: PageLockName, frame: number): number {
  return layout.regions.pageLocks.offset + frame * PAGE_LOCK_WORDS + PageLockCell[name];
}

/** Locks of pages that are held, as last seen by an instrument. */
export function pageLocksHeld(
  memory: SharedMemory,
  layout: Layout,
): { readonly name: PageLockName; readonly frame: number; readonly vcpu: number }[] {
  const frames = Array.from({ length: layout.sizes.frames }, (_, frame) => frame);
  return keysOf(PageLockCell).flatMap((name) =>
    frames.flatMap((frame) => {
      const holder = memory.loadPrivate(pageLockCell(layout, name, frame));
      return holder === FREE ? [] : [{ name, frame, vcpu: holder - 1 }];
    }),
  );
}

/** One vCPU's view of the locks of one kind, one for each machine frame. */
export class PageLock {
  readonly #memory: SharedMemory;
  readonly #owner: LockOwner;
  readonly #held: HeldLocks;
  readonly #class: number;
  readonly #rank: number;
  readonly #first: number;
  readonly #me: number;
  readonly #waitsAt: number;
  /** The word of the one that this vCPU holds, 0 for none. */
  #taken = 0;

  constructor(memory: SharedMemory, layout: Layout, name: PageLockName, owner: LockOwner, held: HeldLocks) {
    this.#memory = memory;
    this.#owner = owner;
    this.#held = held;
    this.#class = LOCK_NAMES.indexOf(name);
    this.#rank = lockClassOf(this.#class).rank;
    this.#first = pageLockCell(layout, name, 0);
    this.#me = owner.id + 1;
    this.#waitsAt = partCell(layout, owner.id) + PartCell.waitsAt;
  }

  /** Returns once this vCPU holds the lock of a frame. `site` is a `LockSite`. */
  acquire(frame: number, site: number): void {
    if (!this.#held.allowsRank(this.#rank)) this.#held.reportOrder(this.#class, this.#rank, site);
    const word = this.#first + frame * PAGE_LOCK_WORDS;
    if (this.#memory.compareExchangeWord(word, FREE, this.#me) !== FREE) this.#wait(word, site);
    this.#held.noteAcquired(this.#class, this.#rank, site);
    this.#taken = word;
  }

  /** Gives it up. */
  release(): void {
    const word = this.#taken;
    if (word === 0) {
      this.#reportRelease();
      return;
    }
    this.#taken = 0;
    this.#held.noteReleased(this.#class);
    this.#memory.storeWord(word, FREE);
    this.#owner.waiter.wakeSleepers(word);
  }

  #reportRelease(): void {
    const { name } = lockClassOf(this.#class);
    this.#owner.reportViolation(
      "lock-release",
      `vCPU ${String(this.#owner.id)} releases a ${name} lock, and holds none.`,
    );
  }

  #wait(word: number, site: number): void {
    const owner = this.#owner;
    const since = owner.clock.now();
    owner.noteWaiting(1 + this.#class);
    this.#memory.storeWord(this.#waitsAt, site);
    let holder = this.#memory.loadWord(word);
    for (;;) {
      if (holder !== FREE) owner.waitServing(word, holder);
      holder = this.#memory.compareExchangeWord(word, FREE, this.#me);
      if (holder === FREE) break;
    }
    owner.noteWaiting(0);
    owner.lockWaits.note(this.#class, site, 0, owner.clock.now() - since);
  }
}
