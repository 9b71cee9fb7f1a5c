/**
 * The locks that vCPUs take: recursive, checked at every use, counted under contention (spec 14.1 to 14.3).
 *
 * A lock lies in shared memory; a `RecursiveLock` is one vCPU's view of it. Whoever waits for a lock goes on serving
 * flush requests, because its holder may be waiting for exactly that (spec 20.3). A wrong use is reported and the run
 * goes on as well as it can, so that one mistake does not hide the next.
 */
import { LOCK_NAMES } from "../memory/layout.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { gateOf } from "./gate.ts";
import type { Gate, LockKind } from "./gate.ts";
import type { HeldLocks } from "./held-locks.ts";
import { LockCell, countUp, lockArea, recordDuration } from "./lock-area.ts";
import { LockSite, lockClassOf, lockSiteName } from "./lock-class.ts";
import type { LockName } from "./lock-class.ts";
import type { LockOwner } from "./lock-owner.ts";
import type { Parts } from "./parts.ts";

/** One in this many acquisitions of a vCPU has its hold timed. */
const HOLD_SAMPLING = 64;

/** One vCPU's view of a lock that it may hold more than once. */
export class RecursiveLock {
  readonly #memory: SharedMemory;
  readonly #owner: LockOwner;
  readonly #held: HeldLocks;
  readonly #gate: Gate;
  /** Null if the lock is only held whole. */
  readonly #parts: Parts | null;
  readonly #index: number;
  readonly #rank: number;
  /** Bit `1 << site` for each place that may take the lock again. */
  readonly #recursiveSites: number;
  /** What the owner word holds while this vCPU holds the lock. */
  readonly #me: number;
  readonly #ownerCell: number;
  readonly #depthCell: number;
  readonly #siteCell: number;
  readonly #lastOwnerCell: number;
  readonly #acquisitionsCell: number;
  readonly #ownerChangesCell: number;
  readonly #waits: number;
  readonly #holds: number;
  #untilSample = HOLD_SAMPLING;
  #isTimed = false;
  /** When the hold began, if it is timed. */
  #heldSince = 0;

  constructor(
    memory: SharedMemory,
    layout: Layout,
    name: LockName,
    kind: LockKind,
    owner: LockOwner,
    held: HeldLocks,
    parts: Parts | null = null,
  ) {
    const index = LOCK_NAMES.indexOf(name);
    const { rank, recursesAt } = lockClassOf(index);
    const area = lockArea(layout, index);
    this.#memory = memory;
    this.#owner = owner;
    this.#held = held;
    this.#gate = gateOf(kind, { memory, layout, owner, lock: index });
    this.#parts = parts;
    this.#index = index;
    this.#rank = rank;
    let sites = 0;
    for (const site of recursesAt) sites |= 1 << LockSite[site];
    this.#recursiveSites = sites;
    this.#me = owner.id + 1;
    this.#ownerCell = area + LockCell.owner;
    this.#depthCell = area + LockCell.depth;
    this.#siteCell = area + LockCell.site;
    this.#lastOwnerCell = area + LockCell.lastOwner;
    this.#acquisitionsCell = area + LockCell.acquisitions;
    this.#ownerChangesCell = area + LockCell.ownerChanges;
    this.#waits = area + LockCell.waits;
    this.#holds = area + LockCell.holds;
  }

  /**
   * True while the vCPU of this view holds the lock. Nobody else ever writes this vCPU's number into the owner word,
   * and the vCPU takes it out before it lets go, so that a plain load cannot mislead it.
   */
  isHeldByMe(): boolean {
    return this.#memory.loadGuarded(this.#ownerCell) === this.#me;
  }

  /** Whether anybody holds the lock, or did a moment ago. */
  isTaken(): boolean {
    return this.#gate.isTaken();
  }

  /** Returns once this vCPU holds the lock, once more than before. `site` is a `LockSite`. */
  acquire(site: number): void {
    const memory = this.#memory;
    const me = this.#me;
    if (memory.loadGuarded(this.#ownerCell) === me) {
      if (((this.#recursiveSites >>> site) & 1) === 0) this.#reportRecursion(site);
      memory.storeGuarded(this.#depthCell, memory.loadGuarded(this.#depthCell) + 1);
      return;
    }
    if (!this.#held.allowsRank(this.#rank)) this.#held.reportOrder(this.#index, this.#rank, site);
    const parts = this.#parts;
    if (!this.#gate.arrive()) this.#wait(site, false);
    else if (parts !== null && !parts.exclude()) this.#wait(site, true);
    memory.storeGuarded(this.#siteCell, site);
    memory.storeGuarded(this.#depthCell, 1);
    memory.storeGuarded(this.#ownerCell, me);
    this.#held.noteAcquired(this.#index, this.#rank, site);
    countUp(memory, this.#acquisitionsCell);
    const lastOwner = memory.loadGuarded(this.#lastOwnerCell);
    if (lastOwner !== me) {
      memory.storeGuarded(this.#lastOwnerCell, me);
      if (lastOwner !== 0) countUp(memory, this.#ownerChangesCell);
    }
    this.#untilSample--;
    this.#isTimed = this.#untilSample === 0;
    if (this.#isTimed) {
      this.#untilSample = HOLD_SAMPLING;
      this.#heldSince = this.#owner.clock.now();
    }
  }

  /** Gives up one hold; after the last, the lock is free for others. */
  release(): void {
    const memory = this.#memory;
    if (memory.loadGuarded(this.#ownerCell) !== this.#me) {
      this.#reportRelease();
      return;
    }
    const depth = memory.loadGuarded(this.#depthCell) - 1;
    memory.storeGuarded(this.#depthCell, depth);
    if (depth !== 0) return;
    if (this.#isTimed) {
      recordDuration(memory, this.#holds, this.#owner.clock.now() - this.#heldSince);
    }
    this.#held.noteReleased(this.#index);
    memory.storeGuarded(this.#ownerCell, 0);
    if (this.#parts !== null) this.#parts.admit();
    this.#gate.passOn();
  }

  /** Waits for the gate, unless the vCPU is in it, and for parts. The lock is held in the end: its statistics may be written. */
  #wait(site: number, isInGate: boolean): void {
    const owner = this.#owner;
    owner.noteWaiting(1 + this.#index);
    // An instrument looks, as it does for the watchdog: this is no access of the machine.
    const heldAt = this.#memory.loadPrivate(this.#siteCell);
    const since = owner.clock.now();
    const parts = this.#parts;
    if (!isInGate) this.#gate.waitForTurn();
    if (parts !== null && (isInGate || !parts.exclude())) parts.awaitOthers();
    const nanos = owner.clock.now() - since;
    recordDuration(this.#memory, this.#waits, nanos);
    owner.lockWaits.note(this.#index, site, heldAt, nanos);
    owner.noteWaiting(0);
  }

  // Sentences are made out of line, so that the paths above carry no text and allocate nothing.

  #reportRecursion(site: number): void {
    const holder = lockSiteName(this.#memory.loadGuarded(this.#siteCell));
    this.#owner.reportViolation(
      "lock-order",
      `vCPU ${String(this.#owner.id)} takes the ${lockClassOf(this.#index).name} lock at ${lockSiteName(site)}, ` +
        `which may not take it twice, while it holds the ${lockClassOf(this.#index).name} lock taken at ${holder}.`,
    );
  }

  #reportRelease(): void {
    const memory = this.#memory;
    const owner = memory.loadGuarded(this.#ownerCell);
    const holder =
      owner === 0
        ? "nobody holds"
        : `vCPU ${String(owner - 1)} holds since ${lockSiteName(memory.loadGuarded(this.#siteCell))}`;
    this.#owner.reportViolation(
      "lock-release",
      `vCPU ${String(this.#owner.id)} releases the ${lockClassOf(this.#index).name} lock, which ${holder}.`,
    );
  }
}
