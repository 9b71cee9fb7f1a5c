/** How the thread that goes on is chosen. */
import type { Scheduler } from "./scheduler.ts";

/** Chooses the next thread, at every point of an execution. */
export interface Strategy {
  /** As users name it. */
  readonly name: string;
  /** A new execution begins, the `iteration`th from 0. False: there is nothing left to explore. */
  begin(scheduler: Scheduler, iteration: number): boolean;
  /**
   * The thread that goes on, of those whose bits are set; at least one is. -1 gives the execution up. Asked also when
   * there is only one.
   */
  choose(scheduler: Scheduler, enabled: number): number;
  /** The thread is about to perform its pending operation. */
  committed(scheduler: Scheduler, thread: number): void;
  /** A thread was added during the execution by the one that runs. Its first operation is pending. */
  spawned(scheduler: Scheduler, thread: number): void;
  /** What an exhaustive strategy has completed, in words; absent on others. */
  completed?(): string | null;
  /** Executions that an exhaustive strategy expects to be left; absent or null when nobody knows. */
  remaining?(): number | null;
  /** The execution is over; `ending` is an `Ending`. */
  end(scheduler: Scheduler, ending: number): void;
}
