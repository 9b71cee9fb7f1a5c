/**
 * A lock that is held whole by one vCPU, or in part by any number (a big-reader lock): to take a part costs a vCPU nothing
 * but a word in a line of its own, to take the whole costs a look at the words of all (docs/per-page-locks.md).
 *
 * Who wants a part says so, and then looks whether somebody wants the whole; who wants the whole says so, and then looks
 * at all parts. These are sequentially consistent, so one of the two sees the other. Whoever sees the whole wanted steps
 * back, so that the whole is not kept waiting by newcomers.
 */
import { LOCK_NAMES, PART_WORDS } from "../memory/layout.ts";
import type { CellGuard, Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { HeldLocks } from "./held-locks.ts";
import { LockCell, lockArea } from "./lock-area.ts";
import { lockClassOf } from "./lock-class.ts";
import type { LockOwner } from "./lock-owner.ts";

/** Guard of a vCPU's word: 0 without a part, `ASKS` while it looks, its number plus 1 with one. */
export const PART_GUARD: CellGuard = {
  guard: "atomic",
  publishes: true,
  because: "who takes the whole comes after all that was done in part, and the other way round",
};

/** Offsets in a vCPU's line. */
export const PartCell = {
  /** Whether it holds a part; a wait pair. */
  held: 0,
  /** The `LockSite` at which it waited last, for a part or with one for the lock of a page. For instruments. */
  waitsAt: 2,
} as const;

const OUT = 0;
const ASKS = -1;
const NOBODY = 0;
const CLASS = LOCK_NAMES.indexOf("paging in part");
const WHOLE = LOCK_NAMES.indexOf("paging");

/** A vCPU's word. */
export function partCell(layout: Layout, vcpu: number): number {
  return layout.regions.parts.offset + vcpu * PART_WORDS;
}

/** The vCPU that has or wants the whole, as last seen by an instrument; -1 for none. */
export function wholeWantedBy(memory: SharedMemory, layout: Layout): number {
  return memory.loadPrivate(lockArea(layout, CLASS) + LockCell.held) - 1;
}

/** The vCPUs that hold a part, as last seen by an instrument. */
export function partHolders(memory: SharedMemory, layout: Layout): number[] {
  const vcpus = Array.from({ length: layout.sizes.vcpus + 1 }, (_, vcpu) => vcpu);
  return vcpus.filter((vcpu) => memory.loadPrivate(partCell(layout, vcpu)) > OUT);
}

/** One vCPU's view of the parts of the paging lock. */
export class Parts {
  /** Whether this vCPU holds a part. */
  isIn = false;
  readonly #memory: SharedMemory;
  readonly #layout: Layout;
  readonly #owner: LockOwner;
  readonly #held: HeldLocks;
  readonly #mine: number;
  /** Number plus 1 of whoever has or wants the whole; a wait pair. */
  readonly #whole: number;
  readonly #rank: number;
  readonly #vcpus: number;

  constructor(memory: SharedMemory, layout: Layout, owner: LockOwner, held: HeldLocks) {
    this.#memory = memory;
    this.#layout = layout;
    this.#owner = owner;
    this.#held = held;
    this.#mine = partCell(layout, owner.id);
    this.#whole = lockArea(layout, CLASS) + LockCell.held;
    this.#rank = lockClassOf(CLASS).rank;
    this.#vcpus = layout.sizes.vcpus + 1;
  }

  /** Returns once this vCPU holds a part. `site` is a `LockSite`. */
  begin(site: number): void {
    const memory = this.#memory;
    if (!this.#held.allowsRank(this.#rank)) this.#held.reportOrder(CLASS, this.#rank, site);
    memory.storeWord(this.#mine, ASKS);
    if (memory.loadWord(this.#whole) !== NOBODY) this.#wait(site);
    memory.storeWord(this.#mine, this.#owner.id + 1);
    this.#held.noteAcquired(CLASS, this.#rank, site);
    this.isIn = true;
  }

  /** Gives the part up. */
  end(): void {
    this.isIn = false;
    this.#held.noteReleased(CLASS);
    this.#memory.storeWord(this.#mine, OUT);
    this.#owner.waiter.wakeSleepers(this.#mine);
  }

  /** From now on nobody begins a part. Whether nobody has one; if not, `awaitOthers` follows. Callers are inside the gate. */
  exclude(): boolean {
    this.#memory.storeWord(this.#whole, this.#owner.id + 1);
    for (let vcpu = 0; vcpu < this.#vcpus; vcpu++)
      if (this.#memory.loadWord(partCell(this.#layout, vcpu)) !== OUT) return false;
    return true;
  }

  /** Returns once nobody has a part. Who only asks for one steps back. */
  awaitOthers(): void {
    for (let vcpu = 0; vcpu < this.#vcpus; vcpu++) {
      const theirs = partCell(this.#layout, vcpu);
      // Who has a part itself has been told off, and is not to wait for itself.
      if (this.isIn && theirs === this.#mine) continue;
      for (;;) {
        const value = this.#memory.loadWord(theirs);
        if (value === OUT) break;
        this.#owner.waitServing(theirs, value);
      }
    }
  }

  /** Parts may be begun again. */
  admit(): void {
    this.#memory.storeWord(this.#whole, NOBODY);
    this.#owner.waiter.wakeSleepers(this.#whole);
  }

  /** In the end the vCPU's word says that it asks, and nobody wants the whole. */
  #wait(site: number): void {
    const memory = this.#memory;
    const owner = this.#owner;
    const since = owner.clock.now();
    owner.noteWaiting(1 + CLASS);
    memory.storeWord(this.#mine + PartCell.waitsAt, site);
    for (;;) {
      const holder = memory.loadWord(this.#whole);
      if (holder === NOBODY) break;
      memory.storeWord(this.#mine, OUT);
      owner.waiter.wakeSleepers(this.#mine);
      owner.waitServing(this.#whole, holder);
      memory.storeWord(this.#mine, ASKS);
    }
    owner.noteWaiting(0);
    // An instrument looks: this is no access of the machine.
    const heldAt = memory.loadPrivate(lockArea(this.#layout, WHOLE) + LockCell.site);
    owner.lockWaits.note(CLASS, site, heldAt, owner.clock.now() - since);
  }
}
