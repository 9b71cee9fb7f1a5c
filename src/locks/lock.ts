/**
 * The locks that vCPUs take: recursive, checked at every use, counted under contention (spec 14.1 to 14.3).
 *
 * A lock lies in shared memory; a `RecursiveLock` is one vCPU's view of it. Whoever waits for a lock goes on serving
 * flush requests, because its holder may be waiting for exactly that (spec 20.3). A wrong use is reported and the run
 * goes on as well as it can, so that one mistake does not hide the next.
 */
import type { Clock } from "../memory/clock.ts";
import { LOCK_NAMES } from "../memory/layout.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { wake } from "../memory/wait.ts";
import type { Waiter } from "../memory/wait.ts";
import { LockCell, countUp, lockArea, recordDuration } from "./lock-area.ts";
import { LockSite, lockClassOf, lockSiteName } from "./lock-class.ts";
import type { LockName } from "./lock-class.ts";

/** How a lock decides who is next: whoever comes first when it is free, or each in the order of arrival. */
export type LockKind = "test-and-set" | "ticket";

/** A vCPU, as far as a lock needs to know it. */
export interface LockOwner {
  readonly id: number;
  readonly waiter: Waiter;
  readonly clock: Clock;
  /** Serves the flush requests that wait in the vCPU's mailbox. */
  serveMailbox(): void;
  reportViolation(check: string, message: string): void;
  /** Publishes what the vCPU waits for: 1 + index of the lock, or 0. */
  noteWaiting(lock: number): void;
}

const FREE = 0;
const HELD = 1;
/** One in this many acquisitions of a vCPU has its hold timed. */
const HOLD_SAMPLING = 64;

/** The locks that one vCPU holds, innermost last. Private to its thread. */
export class HeldLocks {
  readonly #owner: LockOwner;
  /** Each lock is here at most once, however often it is held. */
  readonly #locks = new Int32Array(LOCK_NAMES.length);
  readonly #sites = new Int32Array(LOCK_NAMES.length);
  readonly #ranks = new Int32Array(LOCK_NAMES.length);
  #count = 0;
  #innermostRank = 0;

  constructor(owner: LockOwner) {
    this.#owner = owner;
  }

  isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Whether a lock of this rank may be taken now. */
  allowsRank(rank: number): boolean {
    return rank > this.#innermostRank;
  }

  /** Notes that the vCPU took a lock. */
  noteAcquired(lock: number, rank: number, site: number): void {
    const position = this.#count;
    this.#locks[position] = lock;
    this.#sites[position] = site;
    this.#ranks[position] = rank;
    this.#count = position + 1;
    this.#innermostRank = rank;
  }

  /** Notes that the vCPU gave a lock up; not necessarily the innermost. */
  noteReleased(lock: number): void {
    const last = this.#count - 1;
    let position = last;
    while (position > 0 && this.#locks[position] !== lock) position--;
    for (; position < last; position++) {
      this.#locks[position] = this.#locks[position + 1] ?? 0;
      this.#sites[position] = this.#sites[position + 1] ?? 0;
      this.#ranks[position] = this.#ranks[position + 1] ?? 0;
    }
    this.#count = last;
    this.#innermostRank = last === 0 ? 0 : (this.#ranks[last - 1] ?? 0);
  }

  /** The locks held and where each was taken, outermost first. */
  describe(): string {
    if (this.#count === 0) return "no lock";
    const parts: string[] = [];
    for (let position = 0; position < this.#count; position++) parts.push(this.#describeAt(position));
    return parts.join(", ");
  }

  /** Reports that a lock was taken whose rank the order does not allow. */
  reportOrder(lock: number, rank: number, site: number): void {
    const innermost = this.#count - 1;
    this.#owner.reportViolation(
      "lock-order",
      `vCPU ${String(this.#owner.id)} takes the ${lockClassOf(lock).name} lock (rank ${String(rank)}) at ` +
        `${lockSiteName(site)} while it holds ${this.#describeAt(innermost)} of rank ` +
        `${String(this.#ranks[innermost] ?? 0)}.`,
    );
  }

  /** Reports every lock still held at a moment when the vCPU must hold none. */
  checkNoneHeld(where: string): void {
    if (this.#count === 0) return;
    this.#owner.reportViolation(
      "lock-held-at-exit",
      `vCPU ${String(this.#owner.id)} leaves ${where} while it holds ${this.describe()}.`,
    );
  }

  #describeAt(position: number): string {
    const { name } = lockClassOf(this.#locks[position] ?? 0);
    return `the ${name} lock taken at ${lockSiteName(this.#sites[position] ?? 0)}`;
  }
}

/** One vCPU's view of a lock that it may hold more than once. */
export class RecursiveLock {
  readonly #memory: SharedMemory;
  readonly #owner: LockOwner;
  readonly #held: HeldLocks;
  readonly #isTicket: boolean;
  readonly #index: number;
  readonly #rank: number;
  /** Bit `1 << site` for each place that may take the lock again. */
  readonly #recursiveSites: number;
  /** What the owner word holds while this vCPU holds the lock. */
  readonly #me: number;
  readonly #heldCell: number;
  readonly #nextTicketCell: number;
  readonly #nowServingCell: number;
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
  ) {
    const index = LOCK_NAMES.indexOf(name);
    const { rank, recursesAt } = lockClassOf(index);
    const area = lockArea(layout, index);
    this.#memory = memory;
    this.#owner = owner;
    this.#held = held;
    this.#isTicket = kind === "ticket";
    this.#index = index;
    this.#rank = rank;
    let sites = 0;
    for (const site of recursesAt) sites |= 1 << LockSite[site];
    this.#recursiveSites = sites;
    this.#me = owner.id + 1;
    this.#heldCell = area + LockCell.held;
    this.#nextTicketCell = area + LockCell.nextTicket;
    this.#nowServingCell = area + LockCell.nowServing;
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
    const memory = this.#memory;
    if (!this.#isTicket) return memory.loadWord(this.#heldCell) !== FREE;
    const serving = memory.loadWord(this.#nowServingCell);
    return memory.loadWord(this.#nextTicketCell) !== serving;
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
    if (this.#isTicket) {
      const ticket = memory.addWord(this.#nextTicketCell, 1);
      if (memory.loadWord(this.#nowServingCell) !== ticket) this.#waitForTurn(ticket);
    } else if (memory.compareExchangeWord(this.#heldCell, FREE, HELD) !== FREE) {
      this.#waitUntilTaken();
    }
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
    if (this.#isTicket) {
      memory.addWord(this.#nowServingCell, 1);
      wake(memory, this.#nowServingCell);
    } else {
      memory.storeWord(this.#heldCell, FREE);
      wake(memory, this.#heldCell);
    }
  }

  #waitUntilTaken(): void {
    const since = this.#beginWait();
    do {
      this.#owner.waiter.waitWhile(this.#heldCell, HELD);
      this.#owner.serveMailbox();
    } while (this.#memory.compareExchangeWord(this.#heldCell, FREE, HELD) !== FREE);
    this.#endWait(since);
  }

  #waitForTurn(ticket: number): void {
    const since = this.#beginWait();
    let serving = this.#memory.loadWord(this.#nowServingCell);
    while (serving !== ticket) {
      this.#owner.waiter.waitWhile(this.#nowServingCell, serving);
      this.#owner.serveMailbox();
      serving = this.#memory.loadWord(this.#nowServingCell);
    }
    this.#endWait(since);
  }

  #beginWait(): number {
    this.#owner.noteWaiting(1 + this.#index);
    return this.#owner.clock.now();
  }

  /** The lock is held by now, so that its statistics may be written. */
  #endWait(since: number): void {
    recordDuration(this.#memory, this.#waits, this.#owner.clock.now() - since);
    this.#owner.noteWaiting(0);
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
