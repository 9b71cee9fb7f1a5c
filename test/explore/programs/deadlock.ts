/** deadlock01 and phase01: two locks in two orders, and a lock that is never given up (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const COUNTER = 0;

function upwards(world: ProgramWorld): void {
  const a = world.lock(0);
  const b = world.lock(1);
  a.enterLock();
  b.enterLock();
  world.memory.storeWord(COUNTER, world.memory.loadWord(COUNTER) + 1);
  b.leaveLock();
  a.leaveLock();
}

function downwards(world: ProgramWorld): void {
  const a = world.lock(0);
  const b = world.lock(1);
  b.enterLock();
  a.enterLock();
  world.memory.storeWord(COUNTER, world.memory.loadWord(COUNTER) - 1);
  a.leaveLock();
  b.leaveLock();
}

/** Each thread may have the lock that the other needs. */
export function deadlock01(world: ProgramWorld): void {
  const first = world.spawnThread(upwards);
  const second = world.spawnThread(downwards);
  first.joinThread();
  second.joinThread();
}

function phases(world: ProgramWorld): void {
  const x = world.lock(0);
  const y = world.lock(1);
  x.enterLock();
  x.leaveLock();
  x.enterLock();
  y.enterLock();
  y.leaveLock();
  y.enterLock();
  y.leaveLock();
}

/** The first lock stays taken for ever. */
export function phase01(world: ProgramWorld): void {
  const first = world.spawnThread(phases);
  const second = world.spawnThread(phases);
  first.joinThread();
  second.joinThread();
}
