/**
 * What programs under test import from "umbra". Everywhere else `cells` gives shared memory as it is, so that code which
 * is explored can also be run; locks and threads are the explorer's own.
 */
import { RAW, Primitive } from "../raw-access.ts";
import type { Failure } from "../program-world.ts";
import { SCHEDULER } from "../scheduler.ts";
import { isCoroutine } from "../../coroutine/call-stacks.ts";
import type { Coroutine } from "../../coroutine/call-stacks.ts";

/** A lock of a program under test. */
export interface ProgramLock {
  /** Returns when this thread has the lock. */
  acquire(): void;
  /** Gives the lock up. */
  release(): void;
}

/** A thread of a program under test. */
export interface ProgramThread {
  /** Returns when the thread has ended. */
  join(): void;
}

/** `count` shared 32-bit words, all zero when an execution begins. A name is for reports. */
export function cells(count: number, name?: string): Int32Array<SharedArrayBuffer> {
  return RAW.isActive ? RAW.cells(count, name) : new Int32Array(new SharedArrayBuffer(4 * count));
}

/** A lock that nobody has. Taking it is one operation. */
export function lock(name?: string): ProgramLock {
  mustBeActive("lock");
  return new Lock(RAW.reserve(1, name ?? "lock"));
}

/**
 * Says that accesses to the elements of a shared array may race, and why that does no harm. They are not reported then;
 * how they interleave is explored all the same. Gives the array back, so that it stands where the memory is made.
 */
export function racy<Elements extends NodeJS.TypedArray>(array: Elements, reason: string): Elements {
  if (reason.trim() === "") throw new TypeError("racy: say why its races do no harm");
  if (RAW.isActive) RAW.allowRaces(array);
  return array;
}

/** Begins a thread. A name is for reports. */
export function spawn(body: () => void, name?: string): ProgramThread {
  mustBeActive("spawn");
  const number = SCHEDULER.threads;
  THREAD_NAMES[number] = name ?? `thread ${String(number)}`;
  return new Thread(SCHEDULER.add(threadOf(body)));
}

/** Names of the threads of the execution under way. */
export const THREAD_NAMES: string[] = [];

/** An assertion: what fails is recorded with the schedule, and the program goes on. */
export function check(holds: boolean, message: string): void {
  mustBeActive("check");
  if (!holds) PROGRAM_FAILURES.push({ check: "assertion", thread: SCHEDULER.current, message });
}

/** What the execution under way has failed in. */
export const PROGRAM_FAILURES: Failure[] = [];

/** A thread that runs a function, coroutine or not. */
export function* threadOf(body: () => unknown): Coroutine {
  const begun = body();
  if (begun instanceof Promise) throw new TypeError("a thread of a program under test cannot be async");
  if (!isCoroutine(begun)) return undefined;
  const returned = yield* begun;
  RAW.sync();
  return returned;
}

class Lock extends Primitive implements ProgramLock {
  readonly cell: number;

  constructor(cell: number) {
    super();
    this.cell = cell;
  }

  acquire(): void {
    SCHEDULER.view[this.cell] = SCHEDULER.current + 1;
  }

  release(): void {
    check(SCHEDULER.view[this.cell] === SCHEDULER.current + 1, "a lock is released by who does not hold it");
    SCHEDULER.view[this.cell] = 0;
  }
}

class Thread extends Primitive implements ProgramThread {
  /** Number of the thread: what a join waits for. */
  readonly cell: number;

  constructor(thread: number) {
    super();
    this.cell = thread;
  }

  join(): void {
    // The scheduler has waited for it before.
  }
}

function mustBeActive(name: string): void {
  if (!RAW.isActive)
    throw new Error(`${name}: only a program that explore() runs has the explorer's threads`);
}
