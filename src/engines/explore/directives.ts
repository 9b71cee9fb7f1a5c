/**
 * A schedule as the places where it differs from the default policy: stay with the thread that runs; if it cannot go on,
 * the next one by number, cyclically. A directive is keyed by what its thread has done so far, so that the others keep
 * their meaning when one is taken out (concurrency 3.12).
 */
import { THREADS_MAX } from "./scheduler.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Strategy } from "./strategy.ts";

/** After `thread` has performed `performed` operations, `next` goes on if it can. */
export interface Directive {
  readonly thread: number;
  readonly performed: number;
  readonly next: number;
}

/** The thread that goes on by default. */
export function defaultChoice(current: number, enabled: number): number {
  for (let step = 0; step < THREADS_MAX; step++) {
    const thread = (current + step) % THREADS_MAX;
    if (((enabled >>> thread) & 1) !== 0) return thread;
  }
  return -1;
}

/** Follows directives; those whose place is never reached, or whose thread cannot go on there, are ignored. */
export class DirectedStrategy implements Strategy {
  readonly name = "directed";
  readonly #directives = new Map<number, number>();

  constructor(directives: readonly Directive[]) {
    for (const { thread, performed, next } of directives)
      this.#directives.set(keyOf(thread, performed), next);
  }

  begin(): boolean {
    return true;
  }

  choose(scheduler: Scheduler, enabled: number): number {
    const { current } = scheduler;
    const next = this.#directives.get(keyOf(current, scheduler.performed[current] ?? 0));
    if (next !== undefined && ((enabled >>> next) & 1) !== 0) return next;
    return defaultChoice(current, enabled);
  }

  committed(): void {
    // Directives are looked up by what the scheduler counts.
  }

  spawned(): void {
    // Nothing to learn.
  }

  end(): void {
    // Nothing to learn.
  }
}

/** Chooses the threads of an earlier execution again, point by point. */
export class RepeatingStrategy implements Strategy {
  readonly name = "repeating";
  readonly #chosen: Uint8Array;
  /** The first point at which the thread of then cannot go on: the executions are not of the same program. */
  divergedAt: number | null = null;

  /** From `Scheduler.chosen` as it was after the execution. */
  constructor(chosen: Uint8Array) {
    this.#chosen = chosen;
  }

  begin(): boolean {
    this.divergedAt = null;
    return true;
  }

  choose({ points, current }: Scheduler, enabled: number): number {
    const next = this.#chosen[points] ?? THREADS_MAX;
    if (next < THREADS_MAX && ((enabled >>> next) & 1) !== 0) return next;
    this.divergedAt ??= points;
    return defaultChoice(current, enabled);
  }

  committed(): void {
    // Points are counted by the scheduler.
  }

  spawned(): void {
    // Nothing to learn.
  }

  end(): void {
    // Nothing to learn.
  }
}

/** Lets another strategy choose, and notes where it differs from the default. */
export class RecordingStrategy implements Strategy {
  readonly name: string;
  readonly directives: Directive[] = [];
  readonly #inner: Strategy;

  constructor(inner: Strategy) {
    this.#inner = inner;
    this.name = inner.name;
  }

  begin(scheduler: Scheduler, iteration: number): boolean {
    this.directives.length = 0;
    return this.#inner.begin(scheduler, iteration);
  }

  choose(scheduler: Scheduler, enabled: number): number {
    const next = this.#inner.choose(scheduler, enabled);
    const { current: thread } = scheduler;
    if (next >= 0 && next !== defaultChoice(thread, enabled))
      this.directives.push({ thread, performed: scheduler.performed[thread] ?? 0, next });
    return next;
  }

  committed(scheduler: Scheduler, thread: number): void {
    this.#inner.committed(scheduler, thread);
  }

  spawned(scheduler: Scheduler, thread: number): void {
    this.#inner.spawned(scheduler, thread);
  }

  end(scheduler: Scheduler, ending: number): void {
    this.#inner.end(scheduler, ending);
  }
}

function keyOf(thread: number, performed: number): number {
  return performed * THREADS_MAX + thread;
}
