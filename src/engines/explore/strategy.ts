/** How the thread that goes on is chosen. */
import type { Scheduler } from "./scheduler.ts";

/** Chooses the next thread, at every point of an execution. */
export interface Strategy {
  /**
   * The thread that goes on, of those whose bits are set; at least one is. -1 gives the execution up. Asked also when
   * there is only one.
   */
  choose(scheduler: Scheduler, enabled: number): number;
  /** The thread is about to perform its pending operation. */
  committed(scheduler: Scheduler, thread: number): void;
}
