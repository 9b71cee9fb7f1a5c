/**
 * What an execution was, whatever the order of its independent operations: for each operation, how many of every thread
 * happened before it (concurrency 3.8). Slow and plain, for comparison with what the engine does.
 */
import { AccessKind } from "../../src/engines/coroutine/accessors.ts";
import type { Observer, Scheduler } from "../../src/engines/explore/scheduler.ts";

interface Event {
  readonly thread: number;
  readonly kind: number;
  readonly cells: ReadonlySet<number>;
  isWrite: boolean;
  readonly before: number[];
}

const { read, wait, spawn, join, exchange } = AccessKind;
const SILENT: ReadonlySet<number> = new Set([spawn, join, AccessKind.yield]);

/** Watches an execution; `form` says what it was. */
export class TraceForm implements Observer {
  readonly #events: Event[] = [];
  readonly #clocks = new Map<number, readonly number[]>();
  #threads = 1;
  #valuesBefore: readonly number[] = [];

  begin(): void {
    this.#events.length = 0;
    this.#clocks.clear();
    this.#threads = 1;
  }

  /** Equal for equivalent executions, and for no others. */
  get form(): string {
    const events = this.#events.map(({ thread, before }) => `${String(thread)}:${before.join(",")}`);
    return events.toSorted().join(" ");
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    const kind = scheduler.kind[thread] ?? 0;
    const cells = new Set<number>();
    if (!SILENT.has(kind)) {
      const cell = scheduler.cell[thread] ?? 0;
      for (let offset = 0; offset < (scheduler.span[thread] ?? 1); offset++) cells.add(cell + offset);
      if ((scheduler.other[thread] ?? -1) >= 0) cells.add(scheduler.other[thread] ?? 0);
    }
    const before = [...(this.#clocks.get(thread) ?? [])];
    if (kind === join) merge(before, this.#clocks.get(scheduler.cell[thread] ?? 0) ?? []);
    this.#events.push({ thread, kind, cells, isWrite: kind !== read && kind !== wait, before });
    this.#valuesBefore = [...cells].map((cell) => scheduler.view[cell] ?? 0);
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    const event = this.#events.at(-1);
    if (event === undefined || event.thread !== thread) return;
    const values = [...event.cells].map((cell) => scheduler.view[cell] ?? 0);
    if (event.kind === exchange && values.join() === this.#valuesBefore.join()) event.isWrite = false;
    for (const earlier of this.#events.slice(0, -1)) {
      const isConflict = earlier.isWrite || event.isWrite;
      if (isConflict && !earlier.cells.isDisjointFrom(event.cells)) merge(event.before, earlier.before);
    }
    event.before[thread] = (event.before[thread] ?? 0) + 1;
    for (let index = 0; index < event.before.length; index++) event.before[index] ??= 0;
    this.#clocks.set(thread, event.before);
    for (; this.#threads < scheduler.threads; this.#threads++) this.#clocks.set(this.#threads, event.before);
  }
}

/** An operation's own clock counts the operation itself. */
function merge(into: number[], from: readonly number[]): void {
  for (let index = 0; index < Math.max(into.length, from.length); index++) {
    into[index] = Math.max(into[index] ?? 0, from[index] ?? 0);
  }
}
