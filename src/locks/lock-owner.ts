/** A vCPU, as far as locks need to know it. */
import type { Clock } from "../memory/clock.ts";
import type { LockWaits } from "./lock-waits.ts";

/** Wakes all, or one, of those who sleep on a cell, after its value was changed. */
export interface Waker {
  wakeSleepers(cell: number): void;
  wakeSleeper(cell: number): void;
}

/** Whoever takes locks. */
export interface LockOwner {
  readonly id: number;
  readonly clock: Clock;
  /**
   * Waits while a cell holds a value, or until a flush is asked of the vCPU, and serves what is asked. May return for no
   * reason at all: callers look at the cell again.
   */
  waitServing(cell: number, value: number): void;
  readonly waiter: Waker;
  readonly lockWaits: LockWaits;
  reportViolation(check: string, message: string): void;
  /** Publishes what the vCPU waits for: 1 + index of the lock, or 0. */
  noteWaiting(lock: number): void;
}
