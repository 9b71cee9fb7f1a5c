/** Which locks a vCPU holds, in what order it took them, and whether it may take another (spec 14.1). */
import { LOCK_NAMES } from "../memory/layout.ts";
import { lockClassOf, lockSiteName } from "./lock-class.ts";
import type { LockOwner } from "./lock-owner.ts";

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
