/** Small programs, right and wrong, for the checks of races and of locks. */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const VALUE = 0;
const FLAG = 1;
const ENTRY = 2;

function join(world: ProgramWorld, ...bodies: readonly ((world: ProgramWorld) => void)[]): void {
  const [first, second] = bodies;
  if (first === undefined || second === undefined) return;
  const one = world.spawnThread(first);
  const other = world.spawnThread(second);
  one.joinThread();
  other.joinThread();
}

function addLocked(world: ProgramWorld): void {
  const lock = world.lock(0);
  lock.enterLock();
  world.memory.storeGuarded(VALUE, world.memory.loadGuarded(VALUE) + 1);
  lock.leaveLock();
}

function addUnlocked(world: ProgramWorld): void {
  world.memory.storeGuarded(VALUE, world.memory.loadGuarded(VALUE) + 1);
}

/** A counter under a lock; what the threads did is read after their ends. */
export function lockedCounter(world: ProgramWorld): void {
  world.memory.storeGuarded(VALUE, 1);
  join(world, addLocked, addLocked);
  world.check(world.memory.loadGuarded(VALUE) === 3, "both have added");
}

/** One of two forgets the lock. */
export function halfLockedCounter(world: ProgramWorld): void {
  join(world, addLocked, addUnlocked);
}

function publish(world: ProgramWorld): void {
  world.memory.storeGuarded(VALUE, 7);
  world.memory.storeWord(FLAG, 1);
}

function consume(world: ProgramWorld): void {
  if (world.memory.loadWord(FLAG) === 1) world.memory.loadGuarded(VALUE);
}

/** A value is published by an atomic flag. */
export function published(world: ProgramWorld): void {
  join(world, publish, consume);
}

function publishLate(world: ProgramWorld): void {
  world.memory.storeWord(FLAG, 1);
  world.memory.storeGuarded(VALUE, 7);
}

/** The flag is set before the value. */
export function publishedLate(world: ProgramWorld): void {
  join(world, publishLate, consume);
}

function writeEntry(world: ProgramWorld): void {
  world.memory.storeEntry(ENTRY, 5, 6);
}

function writeHalf(world: ProgramWorld): void {
  world.memory.storeWord(ENTRY + 1, 9);
}

/** An entry is written whole by one, and half by another. */
export function mixedSizes(world: ProgramWorld): void {
  join(world, writeEntry, writeHalf);
}

function firstThenSecond(world: ProgramWorld): void {
  const [first, second] = [world.lock(0), world.lock(1)];
  first.enterLock();
  second.enterLock();
  second.leaveLock();
  first.leaveLock();
}

function secondThenFirst(world: ProgramWorld): void {
  const [first, second] = [world.lock(0), world.lock(1)];
  second.enterLock();
  first.enterLock();
  first.leaveLock();
  second.leaveLock();
}

/** Two locks, taken in both orders. */
export function crossedLocks(world: ProgramWorld): void {
  join(world, firstThenSecond, secondThenFirst);
}

/** The same one after the other: no schedule hangs, the order is wrong all the same. */
export function crossedLocksInTurn(world: ProgramWorld): void {
  world.spawnThread(firstThenSecond).joinThread();
  world.spawnThread(secondThenFirst).joinThread();
}

function gated(world: ProgramWorld): void {
  const gate = world.lock(2);
  gate.enterLock();
  secondThenFirst(world);
  gate.leaveLock();
}

function otherGated(world: ProgramWorld): void {
  const gate = world.lock(2);
  gate.enterLock();
  firstThenSecond(world);
  gate.leaveLock();
}

/** Both orders, but never at the same time: a third lock is held around both. */
export function gatedLocks(world: ProgramWorld): void {
  join(world, gated, otherGated);
}

/** A lock is taken twice. */
export function takesTwice(world: ProgramWorld): void {
  const lock = world.lock(0);
  lock.enterLock();
  lock.enterLock();
}

function keepsLock(world: ProgramWorld): void {
  world.lock(0).enterLock();
}

/** A thread ends with the lock that another wants. */
export function orphanedLock(world: ProgramWorld): void {
  join(world, keepsLock, addLocked);
}

function sleeps(world: ProgramWorld): void {
  const lock = world.lock(0);
  const condition = world.condition(0);
  lock.enterLock();
  condition.suspendOn(lock);
  condition.resumeFrom(lock);
  lock.leaveLock();
}

function signals(world: ProgramWorld): void {
  world.condition(0).signalOne();
}

/** A signal that comes too early is lost. */
export function lostSignal(world: ProgramWorld): void {
  join(world, sleeps, signals);
}
