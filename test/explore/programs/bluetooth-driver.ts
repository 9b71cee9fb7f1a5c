/** bluetooth_driver: a request is let in while the driver stops, after it was asked (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const STOPPING = 0;
const STOPPING_EVENT = 1;
const STOPPED = 2;
const PENDING = 3;

function finishRequest(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  memory.storeWord(PENDING, memory.loadWord(PENDING) - 1);
  const pending = memory.loadWord(PENDING);
  lock.leaveLock();
  if (pending === 0) memory.storeWord(STOPPING_EVENT, 1);
}

function stop(world: ProgramWorld): void {
  const { memory } = world;
  memory.storeWord(STOPPING, 1);
  finishRequest(world);
  if (memory.loadWord(STOPPING_EVENT) === 1) memory.storeWord(STOPPED, 1);
}

/** The main thread makes a request, another stops the driver. */
export function bluetooth(world: ProgramWorld): void {
  const { memory } = world;
  world.preset(PENDING, 1);
  const stopping = world.spawnThread(stop);
  if (memory.loadWord(STOPPING) === 0) {
    const lock = world.lock(0);
    lock.enterLock();
    memory.storeWord(PENDING, memory.loadWord(PENDING) + 1);
    lock.leaveLock();
    world.check(memory.loadWord(STOPPED) === 0, "a request is served by a driver that has stopped");
  }
  finishRequest(world);
  stopping.joinThread();
}
