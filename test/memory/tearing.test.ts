/** 64-bit entries are read and written in one access, as seen by another thread. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { ENTRY, STOP } from "./tearing.ts";
import type { Tearing } from "./tearing.ts";

const READS = 400_000;
/** By then halves that come apart have been seen to. */
const MILLIS = 20_000;

/** How often the halves that were read did not belong together while another thread wrote. */
async function tornReads(how: Tearing["how"]): Promise<number> {
  const memory = SharedMemory.create(128);
  memory.storeEntry(ENTRY, 0, -1);
  const workerData: Tearing = { handle: memory.handle, how };
  const worker = new Worker(new URL("tearing.ts", import.meta.url), { workerData });
  const exit = once(worker, "exit");
  await once(worker, "message");
  let torn = 0;
  const end = performance.now() + (how === "torn" ? MILLIS : 0);
  for (let read = 0; read < READS || (torn === 0 && performance.now() < end); read++) {
    const low = memory.loadEntry(ENTRY);
    if (memory.high !== ~low) torn++;
  }
  memory.storeWord(STOP, 1);
  await exit;
  return torn;
}

test.each(["store", "exchange"] as const)(
  "an entry written by %s is never seen half written",
  async (how) => {
    expect(await tornReads(how)).toBe(0);
  },
);

test("an entry written in two halves is seen half written", async () => {
  expect(await tornReads("torn")).toBeGreaterThan(0);
});
