/** reorder_N: setters write two cells, a checker reads them between the writes of one (concurrency 4.1). */
import type { ProgramWorld, Thread } from "../../../src/engines/explore/program-world.ts";

const A = 0;
const B = 2;
const FAILED = 4;

/** A thread that writes both. */
export function setter({ memory }: ProgramWorld): void {
  memory.storeWord(A, 1);
  memory.storeWord(B, -1);
}

/** A thread that must see both writes of a setter or none. */
export function checker(world: ProgramWorld): void {
  const { memory } = world;
  const isOld = memory.loadWord(A) === 0 && memory.loadWord(B) === 0;
  world.check(
    isOld || (memory.loadWord(A) === 1 && memory.loadWord(B) === -1),
    "half of a setter's writes is seen",
  );
}

function recordingChecker({ memory }: ProgramWorld): void {
  const isOld = memory.loadWord(A) === 0 && memory.loadWord(B) === 0;
  const holds = isOld || (memory.loadWord(A) === 1 && memory.loadWord(B) === -1);
  if (!holds) memory.storeWord(FAILED, 1);
}

/** As `reorder3`, and what fails is written down in a cell: one more operation. */
export function reorder3Recorded(world: ProgramWorld): void {
  const first = world.spawnThread(setter);
  const second = world.spawnThread(setter);
  const third = world.spawnThread(recordingChecker);
  first.joinThread();
  second.joinThread();
  third.joinThread();
}

/** Two setters, one checker. */
export function reorder3(world: ProgramWorld): void {
  const first = world.spawnThread(setter);
  const second = world.spawnThread(setter);
  const third = world.spawnThread(checker);
  first.joinThread();
  second.joinThread();
  third.joinThread();
}

function reorder(world: ProgramWorld, setters: number): void {
  const threads: Thread[] = [];
  for (let index = 0; index < setters; index++) threads.push(world.spawnThread(setter));
  threads.push(world.spawnThread(checker));
  for (const thread of threads) thread.joinThread();
}

/** Three setters, one checker. */
export function reorder4(world: ProgramWorld): void {
  reorder(world, 3);
}

/** Four setters, one checker. */
export function reorder5(world: ProgramWorld): void {
  reorder(world, 4);
}
