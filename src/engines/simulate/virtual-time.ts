/** What a simulation in virtual time runs on, whom it tells of the passing of time, and how it can end. */
import type { Layout } from "../../memory/layout.ts";

/** How a simulation ended. */
export type VirtualEnding =
  /** Every thread returned. */
  | "done"
  /** The time was over. */
  | "time"
  /** Nobody could go on. */
  | "deadlock";

/** What is told of the passing of time. */
export interface TimeObserver {
  /** All that happens before this time has happened; the next time to be told of. Negative: the end. */
  reached(time: number): number;
}

/** What a simulation runs on. */
export interface VirtualMachine {
  readonly view: Int32Array;
  /** Most threads. */
  readonly threads: number;
  readonly layout: Layout;
  readonly seed: number;
}
