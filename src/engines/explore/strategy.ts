/** How the thread that goes on is chosen. */
import type { Scheduler } from "./scheduler.ts";

/** Numbers that a strategy has drawn from the executions so far, by name: what it expects of those to come. */
export type Learnt = Readonly<Record<string, number>>;

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
  /** The execution is over; `ending` is an `Ending`. */
  end(scheduler: Scheduler, ending: number): void;
}

/** A strategy that users choose by name, and that can say how far it has come. */
export interface Search extends Strategy {
  /** What the executions so far have shown of all the others, provided that none failed; null when nothing. */
  completed(): string | null;
  /** Whether no execution is left that could show anything else. */
  readonly hasAll?: boolean;
  /** About how many executions remain; null when the search has no end, or none that can be told. */
  remaining(): number | null;
  /** What an iteration's number and the seed do not say of the executions that follow. */
  learnt(): Learnt;
  /** Goes on as a strategy that has learnt this would. */
  adopt(learnt: Learnt): void;
}
