/** For which locks one vCPU has waited, where, and what they were held for: an instrument of its own, no part of the machine. */
import { LOCK_NAMES } from "../memory/layout.ts";
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

/** The waits of one vCPU. */
export class LockWaits {
  /** Empty until the first wait: most machines have none. */
  #counts = new Float64Array(0);
  #nanos = new Float64Array(0);

  /** One wait is over. */
  note(lock: number, site: number, heldAt: number, nanos: number): void {
    if (this.#counts.length === 0) {
      this.#counts = new Float64Array(CELLS);
      this.#nanos = new Float64Array(CELLS);
    }
    const cell = (lock * SITES + site) * SITES + heldAt;
    this.#counts[cell] = (this.#counts[cell] ?? 0) + 1;
    this.#nanos[cell] = (this.#nanos[cell] ?? 0) + nanos;
  }

  /** From now on there were none. */
  forget(): void {
    this.#counts.fill(0);
    this.#nanos.fill(0);
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
