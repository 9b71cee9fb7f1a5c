/** Programs that are data: each thread is a list of operations, for tests that draw programs at random. */
import type { ProgramWorld, Thread } from "../../../src/engines/explore/program-world.ts";

/** One operation of a thread, on the cell, lock or condition with a number. */
export type Instruction = readonly [name: InstructionName, index: number];

/** What a thread may do. `waitSet` goes on once a cell is not 0; */
export type InstructionName =
  | "load"
  | "store"
  | "add"
  | "swapIfZero"
  | "swapIfOne"
  | "fill"
  | "waitSet"
  | "enter"
  | "leave"
  | "suspend"
  | "signal"
  | "broadcast"
  | "pause";

/** What the program's threads do. Set before it is executed. */
export const PROGRAM: { threads: readonly (readonly Instruction[])[]; joins: boolean } = {
  threads: [],
  joins: false,
};

/** Two cells in a run, which `fill` covers both. */
const RUN = 2;
const STORED = 5;

function interpret(world: ProgramWorld, instructions: readonly Instruction[]): void {
  for (const [name, index] of instructions) {
    access(world, name, index);
    synchronise(world, name, index);
  }
}

function access(world: ProgramWorld, name: InstructionName, index: number): void {
  const { memory } = world;
  if (name === "load") memory.loadWord(index);
  else if (name === "store") memory.storeWord(index, STORED);
  else if (name === "add") memory.addWord(index, 1);
  else if (name === "swapIfZero") memory.compareExchangeWord(index, 0, 1);
  else if (name === "swapIfOne") memory.compareExchangeWord(index, 1, 2);
  else if (name === "fill") memory.fillWords(index, RUN, 1);
  else if (name === "waitSet") world.waitWhile(index, 0);
}

function synchronise(world: ProgramWorld, name: InstructionName, index: number): void {
  const lock = world.lock(index);
  const condition = world.condition(0);
  if (name === "enter") lock.enterLock();
  else if (name === "leave") lock.leaveLock();
  else if (name === "signal") condition.signalOne();
  else if (name === "broadcast") condition.signalAll();
  else if (name === "pause") world.pauseHere();
  else if (name === "suspend") {
    condition.suspendOn(lock);
    condition.resumeFrom(lock);
  }
}

function thread0(world: ProgramWorld): void {
  interpret(world, PROGRAM.threads[0] ?? []);
}

function thread1(world: ProgramWorld): void {
  interpret(world, PROGRAM.threads[1] ?? []);
}

function thread2(world: ProgramWorld): void {
  interpret(world, PROGRAM.threads[2] ?? []);
}

/** Up to three threads, as `PROGRAM` says. */
export function generated(world: ProgramWorld): void {
  const threads: Thread[] = [];
  const bodies = [thread0, thread1, thread2];
  for (const body of bodies.slice(0, PROGRAM.threads.length)) threads.push(world.spawnThread(body));
  if (PROGRAM.joins) for (const thread of threads) thread.joinThread();
}
