/**
 * What a small program under test runs on: cells of shared memory and primitives that are one operation each. Its `main`
 * is a thread too; it begins others and waits for them.
 */
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { SCHEDULER } from "./scheduler.ts";
import { isCoroutine } from "../coroutine/call-stacks.ts";
import type { Coroutine } from "../coroutine/call-stacks.ts";
import type { SyncObject } from "./scheduler.ts";

const MEMORY_CELLS = 4096;
const FIRST_PRIMITIVE = 2048;

/** What is wrong with an execution. */
export interface Failure {
  /** The check that found it. */
  readonly check: string;
  /** Thread or vCPU, -1 when it is nobody's in particular. */
  readonly thread: number;
  readonly message: string;
  /** Failures with the same key are the same bug; the check's name when left out. */
  readonly key?: string;
}

/** A lock that is taken in one operation. */
export class Lock implements SyncObject {
  readonly cell: number;

  constructor(cell: number) {
    this.cell = cell;
  }

  /** Returns when this thread has the lock. */
  enterLock(): void {
    SCHEDULER.view[this.cell] = SCHEDULER.current + 1;
  }

  /** Gives the lock up. */
  leaveLock(): void {
    SCHEDULER.view[this.cell] = 0;
  }
}

/** Threads wait on it for a signal. Its cell has a bit for each that does. */
export class Condition implements SyncObject {
  readonly cell: number;

  constructor(cell: number) {
    this.cell = cell;
  }

  /** Gives up the lock and begins to wait; `resumeFrom` follows. */
  suspendOn(lock: Lock): void {
    SCHEDULER.view[lock.cell] = 0;
    SCHEDULER.view[this.cell] = (SCHEDULER.view[this.cell] ?? 0) | (1 << SCHEDULER.current);
  }

  /** Returns after a signal, with the lock. */
  resumeFrom(lock: Lock): void {
    SCHEDULER.view[lock.cell] = SCHEDULER.current + 1;
  }

  /** Lets the waiting thread with the lowest number go on. */
  signalOne(): void {
    const waiting = SCHEDULER.view[this.cell] ?? 0;
    SCHEDULER.view[this.cell] = waiting & (waiting - 1);
  }

  /** Lets all that wait go on. */
  signalAll(): void {
    SCHEDULER.view[this.cell] = 0;
  }
}

/** A thread that was begun. */
export class Thread implements SyncObject {
  /** Number of the thread: what a join waits for. */
  readonly cell: number;

  constructor(thread: number) {
    this.cell = thread;
  }

  /** Returns when the thread has. */
  joinThread(): void {
    // The scheduler has waited for it before.
  }
}

/** One execution's view of the machine that a program runs on. */
export class ProgramWorld implements SyncObject {
  /** Nobody's cell: beginning a thread concerns no other thread's operation. */
  readonly cell: number = MEMORY_CELLS - 1;
  readonly memory: SharedMemory;
  readonly failures: Failure[] = [];

  constructor(memory: SharedMemory) {
    this.memory = memory;
  }

  /** Cells that a program's memory has. */
  static readonly cells: number = MEMORY_CELLS;

  /** Lock number `index`. */
  lock(index: number): Lock {
    return new Lock(FIRST_PRIMITIVE + index);
  }

  /** Condition number `index`. */
  condition(index: number): Condition {
    return new Condition(FIRST_PRIMITIVE + 1024 + index);
  }

  /** Gives a cell its first value, before there are other threads; no operation. */
  preset(cell: number, value: number): void {
    SCHEDULER.touch(cell, 1);
    SCHEDULER.view[cell] = value;
  }

  /** Returns when the cell holds another value; until then the thread cannot go on. */
  waitWhile(cell: number, value: number): void {
    if (SCHEDULER.view[cell] === value) throw new Error("nobody else runs, so the wait would never end");
  }

  /** A hint that this thread has gained nothing since the last one: others should run. */
  pauseHere(): void {
    // The scheduler has let them.
  }

  /** Begins a thread. */
  spawnThread(body: (world: ProgramWorld) => void): Thread {
    const coroutine: unknown = body(this);
    return new Thread(SCHEDULER.add(asCoroutine(coroutine)));
  }

  /** An assertion: what fails is recorded, and the program goes on. */
  check(holds: boolean, message: string): void {
    if (!holds) this.failures.push({ check: "assertion", thread: SCHEDULER.current, message });
  }
}

/** What a rewritten function returned; a function that reaches no shared memory has run to its end already. */
export function asCoroutine(value: unknown): Coroutine {
  return isCoroutine(value) ? value : ended(value);
}

// oxlint-disable-next-line eslint/require-yield -- a thread without an operation
function* ended(value: unknown): Coroutine {
  return value;
}
