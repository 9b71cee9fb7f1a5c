/** For which locks one vCPU has waited, where, and what they were held for: an instrument of its own, no part of the machine. */
import { LOCK_NAMES } from "../memory/layout.ts";
import { DURATION_BUCKETS } from "./lock-area.ts";
import { LockSite } from "./lock-class.ts";

const SITES = Math.max(...Object.values(LockSite)) + 1;
const CELLS = LOCK_NAMES.length * SITES * SITES;

/** Waits of one kind. */
export interface LockWait {
  /** Index of the lock. */
  readonly lock: number;
  /** The `LockSite` that waited. */
  readonly site: number;
  /** The `LockSite` at which the lock was held when the wait began. */
  readonly heldAt: number;
  readonly count: number;
  readonly nanos: number;
}

/** How long the waits for one lock, or for all of one kind, were. Times in nanoseconds. */
export interface WaitLengths {
  readonly lock: number;
  readonly min: number;
  readonly max: number;
  /** Waits by length: bucket 0 below 2 ns, bucket k from 2^k to below 2^(k+1). */
  readonly buckets: readonly number[];
}

/** The waits of one vCPU. */
export class LockWaits {
  /** Empty until the first wait: most machines have none. */
  #counts = new Float64Array(0);
  #nanos = new Float64Array(0);
  /** By lock: the shortest, the longest, and how many there are of each length. */
  readonly #min = new Float64Array(LOCK_NAMES.length).fill(Infinity);
  readonly #max = new Float64Array(LOCK_NAMES.length);
  readonly #buckets = new Float64Array(LOCK_NAMES.length * DURATION_BUCKETS);

  /** One wait is over. */
  note(lock: number, site: number, heldAt: number, nanos: number): void {
    if (this.#counts.length === 0) {
      this.#counts = new Float64Array(CELLS);
      this.#nanos = new Float64Array(CELLS);
    }
    const cell = (lock * SITES + site) * SITES + heldAt;
    this.#counts[cell] = (this.#counts[cell] ?? 0) + 1;
    this.#nanos[cell] = (this.#nanos[cell] ?? 0) + nanos;
    if (nanos < (this.#min[lock] ?? 0)) this.#min[lock] = nanos;
    if (nanos > (this.#max[lock] ?? 0)) this.#max[lock] = nanos;
    const length = Math.min(nanos < 1 ? 0 : 31 - Math.clz32(nanos), DURATION_BUCKETS - 1);
    const bucket = lock * DURATION_BUCKETS + length;
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
  }

  /** From now on there were none. */
  forget(): void {
    this.#counts.fill(0);
    this.#nanos.fill(0);
    this.#min.fill(Infinity);
    this.#max.fill(0);
    this.#buckets.fill(0);
  }

  /** Their lengths, of the locks for which there were any. */
  lengths(): WaitLengths[] {
    return LOCK_NAMES.flatMap((_, lock) => {
      const min = this.#min[lock] ?? Infinity;
      if (min === Infinity) return [];
      const from = lock * DURATION_BUCKETS;
      const buckets = [...this.#buckets.subarray(from, from + DURATION_BUCKETS)];
      return [{ lock, min, max: this.#max[lock] ?? 0, buckets }];
    });
  }

  /** Those that there were. */
  list(): LockWait[] {
    const waits: LockWait[] = [];
    for (const [cell, count] of this.#counts.entries()) {
      if (count === 0) continue;
      const heldAt = cell % SITES;
      const site = Math.floor(cell / SITES) % SITES;
      const lock = Math.floor(cell / (SITES * SITES));
      waits.push({ lock, site, heldAt, count, nanos: this.#nanos[cell] ?? 0 });
    }
    return waits;
  }
}
