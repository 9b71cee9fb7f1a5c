/** sync01 and sync02: a producer waits for room that nobody makes (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const NUMBER = 0;
const EMPTY = 0;
const FULL = 1;

function produce(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  const empty = world.condition(EMPTY);
  const full = world.condition(FULL);
  lock.enterLock();
  while (memory.loadWord(NUMBER) > 0) {
    empty.suspendOn(lock);
    empty.resumeFrom(lock);
  }
  memory.storeWord(NUMBER, memory.loadWord(NUMBER) + 1);
  lock.leaveLock();
  full.signalOne();
}

function awaitFull(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  const empty = world.condition(EMPTY);
  const full = world.condition(FULL);
  lock.enterLock();
  while (memory.loadWord(NUMBER) === 0) {
    full.suspendOn(lock);
    full.resumeFrom(lock);
  }
  lock.leaveLock();
  empty.signalOne();
}

/** The consumer takes nothing away. */
export function sync01(world: ProgramWorld): void {
  world.preset(NUMBER, 1);
  const first = world.spawnThread(produce);
  const second = world.spawnThread(awaitFull);
  first.joinThread();
  second.joinThread();
}

function produceTwice(world: ProgramWorld): void {
  produce(world);
  produce(world);
}

function consumeTwice(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  const empty = world.condition(EMPTY);
  const full = world.condition(FULL);
  for (let round = 0; round < 2; round++) {
    lock.enterLock();
    while (memory.loadWord(NUMBER) === 0) {
      full.suspendOn(lock);
      full.resumeFrom(lock);
    }
    memory.storeWord(NUMBER, memory.loadWord(NUMBER) - 1);
    lock.leaveLock();
    empty.signalOne();
  }
}

/** There are two to begin with: the consumer ends before the producer's second. */
export function sync02(world: ProgramWorld): void {
  world.preset(NUMBER, 2);
  const first = world.spawnThread(produceTwice);
  const second = world.spawnThread(consumeTwice);
  first.joinThread();
  second.joinThread();
}
