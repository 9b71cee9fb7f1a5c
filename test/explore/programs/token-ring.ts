/** token_ring: the tokens are equal only when the threads ran in their order (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const X1 = 0;
const X2 = 1;
const X3 = 2;
const FLAG1 = 4;
const FLAG2 = 5;
const FLAG3 = 6;

function first(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  memory.storeWord(X1, (memory.loadWord(X3) + 1) % 4);
  memory.storeWord(FLAG1, 1);
  lock.leaveLock();
}

function second(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  memory.storeWord(X2, memory.loadWord(X1));
  memory.storeWord(FLAG2, 1);
  lock.leaveLock();
}

function third(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  memory.storeWord(X3, memory.loadWord(X2));
  memory.storeWord(FLAG3, 1);
  lock.leaveLock();
}

function check(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  if (memory.loadWord(FLAG1) === 1 && memory.loadWord(FLAG2) === 1 && memory.loadWord(FLAG3) === 1) {
    world.check(
      memory.loadWord(X1) === memory.loadWord(X2) && memory.loadWord(X2) === memory.loadWord(X3),
      "the tokens differ",
    );
  }
  lock.leaveLock();
}

/** Nobody waits for the threads. */
export function tokenRing(world: ProgramWorld): void {
  world.preset(X1, 1);
  world.preset(X2, 2);
  world.preset(X3, 1);
  world.spawnThread(first);
  world.spawnThread(second);
  world.spawnThread(third);
  world.spawnThread(check);
}
