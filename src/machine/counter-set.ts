/** One vCPU's counters: private cells of the shared memory, summed up by whoever reports. */
import { COUNTER_WORDS } from "../memory/counters.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { VcpuId } from "../memory/units.ts";

/** Counts without contention. Indices are those of `Counter`. */
export class CounterSet {
  readonly #words: Int32Array;

  constructor(memory: SharedMemory, layout: Layout, vcpu: VcpuId) {
    this.#words = memory.privateWords(layout.regions.counters.offset + vcpu * COUNTER_WORDS, COUNTER_WORDS);
  }

  /** Adds one. */
  add(counter: number): void {
    this.#words[counter] = (this.#words[counter] ?? 0) + 1;
  }

  /** The count, as an unsigned number modulo 2^32. */
  value(counter: number): number {
    return (this.#words[counter] ?? 0) >>> 0;
  }
}
