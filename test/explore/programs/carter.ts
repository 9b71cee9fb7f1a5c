/** carter01: a lock taken under another is given up under it too, by whoever was the last (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const A = 0;
const B = 1;
const OUTER = 0;
const INNER = 1;

function pass(world: ProgramWorld, count: number): void {
  const { memory } = world;
  const outer = world.lock(OUTER);
  const inner = world.lock(INNER);
  outer.enterLock();
  memory.storeWord(count, memory.loadWord(count) + 1);
  if (memory.loadWord(count) === 1) inner.enterLock();
  outer.leaveLock();
  outer.enterLock();
  memory.storeWord(count, memory.loadWord(count) - 1);
  if (memory.loadWord(count) === 0) inner.leaveLock();
  outer.leaveLock();
}

function first(world: ProgramWorld): void {
  pass(world, A);
}

function second(world: ProgramWorld): void {
  pass(world, B);
}

function idle(): void {
  // The original has two threads that do not touch what the others do.
}

/** Four threads, of which two do something. */
export function carter01(world: ProgramWorld): void {
  const threads = [
    world.spawnThread(first),
    world.spawnThread(second),
    world.spawnThread(idle),
    world.spawnThread(idle),
  ];
  for (const thread of threads) thread.joinThread();
}
