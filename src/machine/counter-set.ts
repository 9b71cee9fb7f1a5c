/** One vCPU's counters: private cells of the shared memory, summed up by whoever reports. */
import { COUNTER_NAMES } from "../memory/counters.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { VcpuId } from "../memory/units.ts";

/** Counts without contention. Indices are those of `Counter`. */
export class CounterSet {
  readonly #memory: SharedMemory;
  readonly #base: number;

  constructor(memory: SharedMemory, layout: Layout, vcpu: VcpuId) {
    this.#memory = memory;
    this.#base = layout.regions.counters.offset + vcpu * COUNTER_NAMES.length;
  }

  /** Adds one. */
  add(counter: number): void {
    const cell = this.#base + counter;
    this.#memory.storePrivate(cell, this.#memory.loadPrivate(cell) + 1);
  }

  /** The count, as an unsigned number modulo 2^32. */
  value(counter: number): number {
    return this.#memory.loadPrivate(this.#base + counter) >>> 0;
  }
}
