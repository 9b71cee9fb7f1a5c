/**
 * Which operations may not be swapped: those that touch a cell in common, at least one of them writing (concurrency 3.0).
 * An operation writes all that it touches or nothing of it. Beginning a thread and pausing touch nothing; a join depends
 * on the end of the thread alone, which is no operation of its own.
 */
import { AccessKind } from "../../coroutine/accessors.ts";
import type { Scheduler } from "../scheduler.ts";

const READ = AccessKind.read;
const WAIT = AccessKind.wait;
const SPAWN = AccessKind.spawn;
const YIELD = AccessKind.yield;
const JOIN = AccessKind.join;
const LOCK = AccessKind.lock;
const RELOCK = AccessKind.relock;
const UNLOCK = AccessKind.unlock;
const SUSPEND = AccessKind.suspend;

/** Whether an operation of this kind touches memory or a primitive. */
export function touches(kind: number): boolean {
  return kind !== SPAWN && kind !== YIELD && kind !== JOIN;
}

/** Whether an operation of this kind may change what it touches; a compare-exchange does until it has failed. */
export function writes(kind: number): boolean {
  return kind !== READ && kind !== WAIT && touches(kind);
}

/** Whether an operation of this kind takes a lock. */
export function takesLock(kind: number): boolean {
  return kind === LOCK || kind === RELOCK;
}

/** Whether an operation of this kind gives a lock up. */
export function leavesLock(kind: number): boolean {
  return kind === UNLOCK || kind === SUSPEND;
}

/** Whether the pending operations of two threads are dependent. */
export function arePendingDependent(scheduler: Scheduler, one: number, two: number): boolean {
  const kind = scheduler.kind[one] ?? 0;
  const otherKind = scheduler.kind[two] ?? 0;
  if (!writes(kind) && !writes(otherKind)) return false;
  if (!touches(kind) || !touches(otherKind)) return false;
  const cell = scheduler.cell[one] ?? 0;
  const otherCell = scheduler.cell[two] ?? 0;
  const span = scheduler.span[one] ?? 1;
  const otherSpan = scheduler.span[two] ?? 1;
  if (cell < otherCell + otherSpan && otherCell < cell + span) return true;
  const second = scheduler.other[one] ?? -1;
  const otherSecond = scheduler.other[two] ?? -1;
  if (second >= 0 && second >= otherCell && second < otherCell + otherSpan) return true;
  if (otherSecond < 0) return false;
  return second === otherSecond || (otherSecond >= cell && otherSecond < cell + span);
}
