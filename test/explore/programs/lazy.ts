/** lazy01: one thread assumes that it runs before the others have (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const DATA = 0;
const FAILED = 1;

function addOne(world: ProgramWorld): void {
  const lock = world.lock(0);
  lock.enterLock();
  world.memory.storeWord(DATA, world.memory.loadWord(DATA) + 1);
  lock.leaveLock();
}

function addTwo(world: ProgramWorld): void {
  const lock = world.lock(0);
  lock.enterLock();
  world.memory.storeWord(DATA, world.memory.loadWord(DATA) + 2);
  lock.leaveLock();
}

function check(world: ProgramWorld): void {
  const lock = world.lock(0);
  lock.enterLock();
  world.check(world.memory.loadWord(DATA) < 3, "both have added already");
  lock.leaveLock();
}

function checkAndRecord(world: ProgramWorld): void {
  const lock = world.lock(0);
  lock.enterLock();
  const holds = world.memory.loadWord(DATA) < 3;
  if (!holds) world.memory.storeWord(FAILED, 1);
  lock.leaveLock();
}

/** As `lazy01`, and what fails is written down in a cell: one more operation. */
export function lazy01Recorded(world: ProgramWorld): void {
  const first = world.spawnThread(addOne);
  const second = world.spawnThread(addTwo);
  const third = world.spawnThread(checkAndRecord);
  first.joinThread();
  second.joinThread();
  third.joinThread();
}

/** Two threads add, one checks. */
export function lazy01(world: ProgramWorld): void {
  const first = world.spawnThread(addOne);
  const second = world.spawnThread(addTwo);
  const third = world.spawnThread(check);
  first.joinThread();
  second.joinThread();
  third.joinThread();
}
