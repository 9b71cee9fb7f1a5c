/** stringbuffer-jdk1.4: a length is used after the buffer has been shortened (concurrency 4.1). */
import type { ProgramWorld } from "../../../src/engines/explore/program-world.ts";

const BUFFER_COUNT = 0;
const TARGET_COUNT = 1;
const TARGET = 0;
const BUFFER = 1;

function eraseAndAppend(world: ProgramWorld): void {
  const { memory } = world;
  const buffer = world.lock(BUFFER);
  buffer.enterLock();
  const count = memory.loadWord(BUFFER_COUNT);
  if (Math.min(3, count) > 0) memory.storeWord(BUFFER_COUNT, count - 3);
  buffer.leaveLock();
  buffer.enterLock();
  memory.storeWord(BUFFER_COUNT, memory.loadWord(BUFFER_COUNT) + 3);
  buffer.leaveLock();
}

/** The main thread appends the buffer to another, while a thread empties and fills it. */
export function stringBuffer(world: ProgramWorld): void {
  const { memory } = world;
  const target = world.lock(TARGET);
  const buffer = world.lock(BUFFER);
  world.preset(BUFFER_COUNT, 3);
  const eraser = world.spawnThread(eraseAndAppend);
  target.enterLock();
  buffer.enterLock();
  const length = memory.loadWord(BUFFER_COUNT);
  buffer.leaveLock();
  const count = memory.loadWord(TARGET_COUNT) + length;
  buffer.enterLock();
  world.check(length <= memory.loadWord(BUFFER_COUNT), "the buffer is shorter than what is copied");
  buffer.leaveLock();
  memory.storeWord(TARGET_COUNT, count);
  target.leaveLock();
  eraser.joinThread();
}
