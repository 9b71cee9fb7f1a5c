/** v_inc2, v_inc3, v_rw1w, v_readers3: a few accesses, whose schedules can be counted by hand (concurrency 3.7, 3.8). */
import type { ProgramWorld, Thread } from "../../../src/engines/explore/program-world.ts";

const X = 0;
const OWN = 8;

function increment({ memory }: ProgramWorld): void {
  memory.storeWord(X, memory.loadWord(X) + 1);
}

function join(world: ProgramWorld, bodies: readonly ((world: ProgramWorld) => void)[]): void {
  const threads: Thread[] = [];
  for (const body of bodies) threads.push(world.spawnThread(body));
  for (const thread of threads) thread.joinThread();
}

/** Two threads increment. */
export function increments2(world: ProgramWorld): void {
  join(world, [increment, increment]);
}

/** Three threads increment. */
export function increments3(world: ProgramWorld): void {
  join(world, [increment, increment, increment]);
}

function write({ memory }: ProgramWorld): void {
  memory.storeWord(X, 1);
}

function readLater({ memory }: ProgramWorld, own: number): void {
  memory.storeWord(own, 1);
  memory.loadWord(X);
}

function reader1(world: ProgramWorld): void {
  readLater(world, OWN);
}

function reader2(world: ProgramWorld): void {
  readLater(world, OWN + 1);
}

function reader3(world: ProgramWorld): void {
  readLater(world, OWN + 2);
}

/** The thread may read before or after the write. Nobody waits for the threads. */
export function reader1Writer1(world: ProgramWorld): void {
  world.spawnThread(reader1);
  world.spawnThread(write);
}

/** Each of three threads may read before or after the write. */
export function readers3(world: ProgramWorld): void {
  world.spawnThread(write);
  world.spawnThread(reader1);
  world.spawnThread(reader2);
  world.spawnThread(reader3);
}
