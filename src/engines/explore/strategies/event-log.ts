/** The operations of an execution with what happened before each of them, for source-DPOR (concurrency 3.6 and 3.8). */
import { AccessKind } from "../../coroutine/accessors.ts";
import { THREADS_MAX } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import { CellIndex } from "./cell-index.ts";
import type { Cells } from "./cell-index.ts";
import { leavesLock, takesLock, touches, writes } from "./dependence.ts";

const READ = AccessKind.read;
const EXCHANGE = AccessKind.exchange;
const JOIN = AccessKind.join;
const LOCK = AccessKind.lock;
const UNLOCK = AccessKind.unlock;
const RELOCK = AccessKind.relock;
const SUSPEND = AccessKind.suspend;
const NONE = -1;

/** Is told of a race: the number of the event, and the threads that can begin an execution with the race turned round. */
export type RaceListener = (event: number, initials: number) => void;

/** Operation that is looked at, pending or performed. */
interface Operation extends Cells {
  readonly kind: number;
}

/**
 * Events from the beginning of the execution. A clock has, for each thread, how many events of the execution there were
 * up to its last one that happened before. Events that an execution has in common with the last are kept.
 */
export class EventLog {
  #thread = new Uint8Array(256);
  #kind = new Uint8Array(256);
  #cell = new Int32Array(256);
  #span = new Int32Array(256);
  #other = new Int32Array(256);
  #clocks = new Int32Array(256 * THREADS_MAX);
  readonly #index = new CellIndex();
  #count = 0;
  /** Threads of the execution so far: clocks have no more entries that are not 0. */
  #threads = 0;
  /** Events before this one are those of the last execution. */
  #newFrom = 0;
  /** Event that each thread's clock is that of: its last, or the one that began it. */
  readonly #last = new Int32Array(THREADS_MAX);
  readonly #covered = new Int32Array(THREADS_MAX);
  /** The event that was performed last is still pending in the scheduler's eyes: its effects are not known. */
  #isSettled = true;
  #valueBefore = 0;
  #secondBefore = 0;

  /** A new execution begins, with the events of the last one up to `newFrom`. */
  begin(newFrom: number): void {
    this.#count = 0;
    this.#newFrom = newFrom;
    this.#last.fill(NONE);
    this.#isSettled = true;
    this.#index.clear();
  }

  /** A thread is about to perform its pending operation. */
  perform({ kind, cell, span, other, view, threads }: Scheduler, thread: number): void {
    const event = this.#count++;
    this.#threads = threads;
    if (event >= this.#newFrom) {
      if (event === this.#thread.length) this.#grow();
      this.#thread[event] = thread;
      this.#kind[event] = kind[thread] ?? 0;
      const at = cell[thread] ?? 0;
      this.#cell[event] = at;
      this.#span[event] = span[thread] ?? 1;
      this.#other[event] = other[thread] ?? NONE;
      this.#valueBefore = view[at] ?? 0;
      this.#secondBefore = view[at + 1] ?? 0;
      this.#isSettled = false;
      this.#orderAfter(event, this.#last[thread] ?? NONE);
    }
    this.#last[thread] = event;
    const operation = this.#operation(event);
    if (touches(operation.kind)) this.#index.add(event, operation);
  }

  /** A thread was begun by the last event. */
  spawned(thread: number): void {
    this.#last[thread] = this.#count - 1;
  }

  /** The effects of the last event are known now. Returns the number of events. */
  settle({ view }: Scheduler): number {
    const event = this.#count - 1;
    if (this.#isSettled) return this.#count;
    this.#isSettled = true;
    if (this.#kind[event] === EXCHANGE) {
      const at = this.#cell[event] ?? 0;
      const isSame = view[at] === this.#valueBefore && view[at + 1] === this.#secondBefore;
      if (isSame) this.#kind[event] = READ;
    }
    this.#setClock(event);
    return this.#count;
  }

  /** `AccessKind` of the last event, that of a read when it was an exchange that failed; -1 before the first. */
  get lastKind(): number {
    return this.#count === 0 ? NONE : (this.#kind[this.#count - 1] ?? NONE);
  }

  /** Whether the last event may have changed anything. */
  get lastWrites(): boolean {
    return this.#count > 0 && writes(this.#kind[this.#count - 1] ?? 0);
  }

  /** Whether a thread has come to its pending operation by the last event: its own, or the one that began it. */
  isNew(thread: number): boolean {
    return this.#last[thread] === this.#count - 1;
  }

  /** Whether the last event and a thread's pending operation are dependent. */
  isLastDependent(scheduler: Scheduler, thread: number): boolean {
    return this.#isDependent(this.#count - 1, pendingOf(scheduler, thread));
  }

  /** Events that race with a thread's pending operation, so that the other order must be executed too; last ones first. */
  forEachRace(scheduler: Scheduler, thread: number, listener: RaceListener): void {
    const operation = pendingOf(scheduler, thread);
    if (!touches(operation.kind)) return;
    const covered = this.#covered;
    const last = this.#last[thread] ?? NONE;
    if (last < 0) covered.fill(0);
    else covered.set(this.#clocks.subarray(last * THREADS_MAX, (last + 1) * THREADS_MAX));
    // What touched a cell before a write to it happened before the write; it cannot race closer than that.
    const isLast = (event: number): boolean =>
      writes(this.#kind[event] ?? 0) && !this.#excludes(event, operation);
    for (const event of this.#index.touching(operation, isLast)) {
      const by = this.#thread[event] ?? 0;
      if (by === thread || (covered[by] ?? 0) > event) continue;
      if (!this.#isDependent(event, operation) || this.#excludes(event, operation)) continue;
      listener(event, this.#initials(event, thread, operation));
      for (let index = 0; index < this.#threads; index++) {
        covered[index] = Math.max(covered[index] ?? 0, this.#clocks[event * THREADS_MAX + index] ?? 0);
      }
    }
  }

  /**
   * Threads whose first operation, of those after an event that it did not happen before, depends on none of the others:
   * any of them can be executed in the place of the event.
   */
  #initials(event: number, thread: number, operation: Operation): number {
    let seen = 0;
    let initials = 0;
    for (let later = event + 1; later < this.#count; later++) {
      const bit = 1 << (this.#thread[later] ?? 0);
      if ((seen & bit) !== 0 || this.#isBefore(event, later)) continue;
      seen |= bit;
      if (!this.#hasCause(event, later)) initials |= bit;
    }
    if ((seen & (1 << thread)) === 0 && !this.#hasPendingCause(event, thread, operation))
      initials |= 1 << thread;
    return initials;
  }

  /** Whether something after the event, and not because of it, happened before `later`. */
  #hasCause(event: number, later: number): boolean {
    for (let between = event + 1; between < later; between++)
      if (this.#isBefore(between, later) && !this.#isBefore(event, between)) return true;
    return false;
  }

  #hasPendingCause(event: number, thread: number, operation: Operation): boolean {
    const last = this.#last[thread] ?? NONE;
    for (let between = event + 1; between < this.#count; between++) {
      if (this.#isBefore(event, between)) continue;
      if (last === between || (last > between && this.#isBefore(between, last))) return true;
      if (this.#isDependent(between, operation)) return true;
    }
    return false;
  }

  #isBefore(event: number, later: number): boolean {
    return (this.#clocks[later * THREADS_MAX + (this.#thread[event] ?? 0)] ?? 0) > event;
  }

  #setClock(event: number): void {
    const operation = this.#operation(event);
    const thread = this.#thread[event] ?? 0;
    if (operation.kind === JOIN) this.#join(event, this.#last[operation.cell] ?? NONE);
    if (touches(operation.kind)) {
      const isLast = (earlier: number): boolean => earlier !== event && writes(this.#kind[earlier] ?? 0);
      for (const earlier of this.#index.touching(operation, isLast)) {
        if (earlier === event || this.#isBefore(earlier, event)) continue;
        if (this.#isDependent(earlier, operation)) this.#join(event, earlier);
      }
    }
    this.#clocks[event * THREADS_MAX + thread] = event + 1;
  }

  #operation(event: number): Operation {
    return {
      kind: this.#kind[event] ?? 0,
      cell: this.#cell[event] ?? 0,
      span: this.#span[event] ?? 1,
      other: this.#other[event] ?? NONE,
    };
  }

  /** The clock of a new event, as far as it follows from its thread alone. */
  #orderAfter(event: number, last: number): void {
    const at = event * THREADS_MAX;
    if (last < 0) this.#clocks.fill(0, at, at + THREADS_MAX);
    else this.#clocks.copyWithin(at, last * THREADS_MAX, (last + 1) * THREADS_MAX);
  }

  #join(event: number, earlier: number): void {
    if (earlier < 0) return;
    const to = event * THREADS_MAX;
    const from = earlier * THREADS_MAX;
    for (let index = 0; index < this.#threads; index++) {
      this.#clocks[to + index] = Math.max(this.#clocks[to + index] ?? 0, this.#clocks[from + index] ?? 0);
    }
  }

  #isDependent(event: number, { kind, cell, span, other }: Operation): boolean {
    const eventKind = this.#kind[event] ?? 0;
    if (!writes(kind) && !writes(eventKind)) return false;
    if (!touches(kind) || !touches(eventKind)) return false;
    const at = this.#cell[event] ?? 0;
    const end = at + (this.#span[event] ?? 1);
    if (at < cell + span && cell < end) return true;
    const eventOther = this.#other[event] ?? NONE;
    if (eventOther >= cell && eventOther < cell + span) return true;
    return other >= 0 && (other === eventOther || (other >= at && other < end));
  }

  /** Whether an event made an operation possible by giving up the lock that it takes: the other order cannot be. */
  #excludes(event: number, { kind, cell, other }: Operation): boolean {
    const eventKind = this.#kind[event] ?? 0;
    if (!takesLock(kind) || !leavesLock(eventKind)) return false;
    const lock = lockOf(kind, cell, other);
    return lock === lockOf(eventKind, this.#cell[event] ?? 0, this.#other[event] ?? NONE);
  }

  #grow(): void {
    const length = this.#thread.length * 2;
    this.#thread = grown(this.#thread, new Uint8Array(length));
    this.#kind = grown(this.#kind, new Uint8Array(length));
    this.#cell = grown(this.#cell, new Int32Array(length));
    this.#span = grown(this.#span, new Int32Array(length));
    this.#other = grown(this.#other, new Int32Array(length));
    this.#clocks = grown(this.#clocks, new Int32Array(length * THREADS_MAX));
  }
}

function pendingOf({ kind, cell, span, other }: Scheduler, thread: number): Operation {
  return {
    kind: kind[thread] ?? 0,
    cell: cell[thread] ?? 0,
    span: span[thread] ?? 1,
    other: other[thread] ?? NONE,
  };
}

function lockOf(kind: number, cell: number, other: number): number {
  if (kind === LOCK || kind === UNLOCK) return cell;
  return kind === RELOCK || kind === SUSPEND ? other : NONE;
}

function grown<Numbers extends Uint8Array | Int32Array>(from: Numbers, to: Numbers): Numbers {
  to.set(from);
  return to;
}
