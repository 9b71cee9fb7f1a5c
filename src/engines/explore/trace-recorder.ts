/** Writes down what every operation of an execution did. For one execution: the search itself runs without it. */
import { AccessKind } from "../coroutine/accessors.ts";
import type { Observer, Scheduler } from "./scheduler.ts";

/** One operation, as it was performed. */
export interface Step {
  readonly thread: number;
  readonly site: number;
  readonly kind: number;
  /** First cell that it concerned, and how many. */
  readonly cell: number;
  readonly span: number;
  /** Second cell, -1 for none. */
  readonly other: number;
  /** What the cell held before and after; low halves of entries. */
  readonly before: number;
  after: number;
  readonly highBefore: number;
  highAfter: number;
  /** Threads that could go on when this one was chosen. */
  readonly enabled: number;
  /** It was never performed: the thread still waits for it at the end. */
  readonly isPending: boolean;
}

const { read, wait, join, exchange } = AccessKind;

/** Whether a step changed nothing that another thread could see. */
export function isRead({ kind, before, after, highBefore, highAfter }: Step): boolean {
  if (kind === exchange) return before === after && highBefore === highAfter;
  return kind === read || kind === wait || kind === join;
}

/** Whether the order of two steps of different threads matters. */
export function conflict(a: Step, b: Step): boolean {
  if (isRead(a) && isRead(b)) return false;
  return touches(a, b.cell, b.span) || (b.other >= 0 && touches(a, b.other, 1));
}

function touches(step: Step, cell: number, span: number): boolean {
  const overlaps = step.cell < cell + span && cell < step.cell + step.span;
  return overlaps || (step.other >= cell && step.other < cell + span);
}

/** Records one execution. */
export class TraceRecorder implements Observer {
  readonly steps: Step[] = [];
  /** Index of the last step of each thread, until its effect has been seen. */
  #open: Step | undefined;

  begin(): void {
    this.steps.length = 0;
    this.#open = undefined;
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    const step = pendingStep(scheduler, thread, false);
    this.steps.push(step);
    this.#open = step;
  }

  /** What the threads that have not returned are waiting to do. */
  pending(scheduler: Scheduler): Step[] {
    const steps: Step[] = [];
    for (let thread = 0; thread < scheduler.threads; thread++)
      if (((scheduler.live >>> thread) & 1) !== 0) steps.push(pendingStep(scheduler, thread, true));
    return steps;
  }

  afterStep({ view }: Scheduler): void {
    const step = this.#open;
    if (step === undefined) return;
    this.#open = undefined;
    step.after = view[step.cell] ?? 0;
    if (step.span === 2) step.highAfter = view[step.cell + 1] ?? 0;
  }
}

function pendingStep(scheduler: Scheduler, thread: number, isPending: boolean): Step {
  const { view, enabled } = scheduler;
  const cell = scheduler.cell[thread] ?? 0;
  const before = view[cell] ?? 0;
  const highBefore = view[cell + 1] ?? 0;
  return {
    thread,
    site: scheduler.site[thread] ?? 0,
    kind: scheduler.kind[thread] ?? 0,
    cell,
    span: scheduler.span[thread] ?? 1,
    other: scheduler.other[thread] ?? -1,
    before,
    after: before,
    highBefore,
    highAfter: highBefore,
    enabled,
    isPending,
  };
}
