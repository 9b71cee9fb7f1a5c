/** twostage: what belongs together is written under two locks, one after the other (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const DATA1 = 0;
const DATA2 = 1;

function write(world: ProgramWorld): void {
  const { memory } = world;
  const lock1 = world.lock(0);
  const lock2 = world.lock(1);
  lock1.enterLock();
  memory.storeWord(DATA1, 1);
  lock1.leaveLock();
  lock2.enterLock();
  memory.storeWord(DATA2, memory.loadWord(DATA1) + 1);
  lock2.leaveLock();
}

function check(world: ProgramWorld): void {
  const { memory } = world;
  const lock1 = world.lock(0);
  const lock2 = world.lock(1);
  lock1.enterLock();
  const isWritten = memory.loadWord(DATA1) !== 0;
  if (!isWritten) {
    lock1.leaveLock();
    return;
  }
  const data1 = memory.loadWord(DATA1);
  lock1.leaveLock();
  lock2.enterLock();
  const data2 = memory.loadWord(DATA2);
  lock2.leaveLock();
  world.check(data2 === data1 + 1, "the second stage is behind the first");
}

/** One thread writes both stages, one checks. */
export function twoStage(world: ProgramWorld): void {
  const first = world.spawnThread(write);
  const second = world.spawnThread(check);
  first.joinThread();
  second.joinThread();
}
