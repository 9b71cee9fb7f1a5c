/** What is executed again and again, each time from the same beginning. */
import type { Failure } from "./program-world.ts";
import type { Observer, Scheduler } from "./scheduler.ts";

/** A check that watches an execution, operation by operation. Checks are plain code over the same memory. */
export interface ExecutionCheck extends Observer {
  /** A new execution begins. */
  begin(): void;
  /** What was found in the execution that is over. */
  end(ending: number): readonly Failure[];
}

/** An observer that is told of each beginning. */
export interface Watcher extends Observer {
  begin(): void;
}

/** A world that somebody else watches too. */
export function watched(world: World, watcher: Watcher): World {
  const { observer } = world;
  return {
    name: world.name,
    observer: observer === null ? watcher : new Both(watcher, observer),
    begin: () => {
      watcher.begin();
      world.begin();
    },
    end: (ending, isThorough) => world.end(ending, isThorough),
    isIdle: () => world.isIdle?.() === true,
    isBookkeeping: (cell) => world.isBookkeeping?.(cell) === true,
    threadName: (thread) => world.threadName(thread),
    cellName: (cell) => world.cellName(cell),
  };
}

/** Two observers as one. */
class Both implements Observer {
  readonly #first: Observer;
  readonly #second: Observer;

  constructor(first: Observer, second: Observer) {
    this.#first = first;
    this.#second = second;
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    this.#first.beforeStep(scheduler, thread);
    this.#second.beforeStep(scheduler, thread);
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    this.#first.afterStep(scheduler, thread);
    this.#second.afterStep(scheduler, thread);
  }
}

/** A program of several threads with the checks that belong to it. */
export interface World {
  /** Name of what is explored, as reports call it. */
  readonly name: string;
  /** What watches its executions, null for nothing. */
  readonly observer: Observer | null;
  /** Makes everything as in the beginning and adds the threads to the scheduler. */
  begin(): void;
  /**
   * Everything wrong with the execution that is over, which ended as an `Ending` says. Only a thorough look takes the
   * whole machine apart: it costs more than many an execution.
   */
  end(ending: number, isThorough: boolean): readonly Failure[];
  /** Whether those who cannot go on need not: vCPUs that have halted. Left out: they must. */
  isIdle?(): boolean;
  /** What a thread is called: `vCPU 0`, `toolstack`. */
  threadName(thread: number): string;
  /** What a cell is called: `vCPU 1 doorbell`. */
  cellName(cell: number): string;
  /** Whether the order of a cell's accesses follows from that of others, so that a reader wants those first. */
  isBookkeeping?(cell: number): boolean;
}
