/** Stores 64-bit entries whose halves belong together, as fast as it can, until it is told to stop. */
import { parentPort, workerData } from "node:worker_threads";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import type { SharedMemoryHandle } from "../../src/memory/shared-memory.ts";

/** What the writer is told. */
export interface Tearing {
  readonly handle: SharedMemoryHandle;
  /** `torn` is the planted fault: one half after the other. */
  readonly how: "store" | "exchange" | "torn";
}

/** The cells: 1 when the writer shall stop, and the entry. */
export const STOP = 0;
export const ENTRY = 64;

function write({ handle, how }: Tearing): void {
  const memory = SharedMemory.attach(handle);
  parentPort?.postMessage("ready");
  for (let value = 1; memory.loadWord(STOP) === 0; value = (value + 1) | 0) {
    if (how === "store") memory.storeEntry(ENTRY, value, ~value);
    else if (how === "exchange") {
      const low = memory.loadEntry(ENTRY);
      memory.compareExchangeEntry(ENTRY, low, memory.high, value, ~value);
    } else {
      memory.storeWord(ENTRY, value);
      // Long enough that on a single core, too, others run meanwhile.
      Atomics.wait(memory.view, STOP, 0, 1);
      memory.storeWord(ENTRY + 1, ~value);
    }
  }
}

if (parentPort !== null) write(workerData as Tearing);
