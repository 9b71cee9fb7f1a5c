/** account: what the checker expects is wrong, and shows when it runs last (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const BALANCE = 0;
const DEPOSITED = 1;
const WITHDRAWN = 2;

function check(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  if (memory.loadWord(DEPOSITED) === 1 && memory.loadWord(WITHDRAWN) === 1)
    world.check(memory.loadWord(BALANCE) === 1 - 2 - 4, "the balance is not what was left");
  lock.leaveLock();
}

function deposit(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  memory.storeWord(BALANCE, memory.loadWord(BALANCE) + 2);
  memory.storeWord(DEPOSITED, 1);
  lock.leaveLock();
}

function withdraw(world: ProgramWorld): void {
  const { memory } = world;
  const lock = world.lock(0);
  lock.enterLock();
  memory.storeWord(BALANCE, memory.loadWord(BALANCE) - 4);
  memory.storeWord(WITHDRAWN, 1);
  lock.leaveLock();
}

/** Nobody waits for the threads. */
export function account(world: ProgramWorld): void {
  world.preset(BALANCE, 1);
  world.spawnThread(check);
  world.spawnThread(deposit);
  world.spawnThread(withdraw);
}
