/** Threads that wait by trying again: with and without a hint, in one operation, and for what never comes. */
import type { ProgramWorld, Thread } from "../../../src/engines/explore/program-world.ts";

const FLAG = 0;
const DATA = 2;

function set({ memory }: ProgramWorld): void {
  memory.storeWord(DATA, 1);
  memory.storeWord(FLAG, 1);
}

function check(world: ProgramWorld): void {
  world.check(world.memory.loadWord(DATA) === 1, "the flag came before the data");
}

function tryWithPauses(world: ProgramWorld): void {
  while (world.memory.loadWord(FLAG) === 0) world.pauseHere();
  check(world);
}

function tryWithoutPauses(world: ProgramWorld): void {
  while (world.memory.loadWord(FLAG) === 0);
  check(world);
}

function wait(world: ProgramWorld): void {
  world.waitWhile(FLAG, 0);
  check(world);
}

function join(world: ProgramWorld, bodies: readonly ((world: ProgramWorld) => void)[]): void {
  const threads: Thread[] = [];
  for (const body of bodies) threads.push(world.spawnThread(body));
  for (const thread of threads) thread.joinThread();
}

/** Tries until the flag is set, and says when it was not. */
export function spinWithPauses(world: ProgramWorld): void {
  join(world, [tryWithPauses, set]);
}

/** Tries until the flag is set. */
export function spinWithoutPauses(world: ProgramWorld): void {
  join(world, [tryWithoutPauses, set]);
}

/** Goes on when the flag is set. */
export function waits(world: ProgramWorld): void {
  join(world, [wait, set]);
}

/** Tries until somebody sets the flag, which nobody does. */
export function spinForever(world: ProgramWorld): void {
  join(world, [tryWithPauses, tryWithoutPauses]);
}

/** Waits for somebody to set the flag, which nobody does. */
export function waitForever(world: ProgramWorld): void {
  join(world, [wait, wait]);
}
