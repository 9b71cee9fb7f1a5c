/** wronglock_3: a value is guarded by one lock here and by another one there (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const VALUE = 0;

function addAndCheck(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  const before = memory.loadWord(VALUE);
  memory.storeWord(VALUE, memory.loadWord(VALUE) + 1);
  world.check(memory.loadWord(VALUE) === before + 1, "the value was changed under the lock");
  lock.leaveLock();
}

function add(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(1);
  lock.enterLock();
  memory.storeWord(VALUE, memory.loadWord(VALUE) + 1);
  lock.leaveLock();
}

/** One thread with the first lock, three with the second. */
export function wrongLock3(world: ProgramWorld): void {
  const threads = [
    world.spawnThread(addAndCheck),
    world.spawnThread(add),
    world.spawnThread(add),
    world.spawnThread(add),
  ];
  for (const thread of threads) thread.joinThread();
}
