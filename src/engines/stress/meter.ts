/** The counters of all vCPUs, summed without wrapping: each look adds what has been counted since the last. */
import { CounterSet } from "../../machine/counter-set.ts";
import { COUNTER_NAMES } from "../../memory/counters.ts";
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { vcpuId } from "../../memory/units.ts";

const WORD = 2 ** 32;

/** Counters of a machine. Exact while nobody runs. */
export class Meter {
  readonly #sets: readonly CounterSet[];
  readonly #seen: readonly number[][];
  readonly #totals: readonly number[][];

  constructor(memory: SharedMemory, layout: Layout) {
    // The area behind the last vCPU's is the toolstack's.
    const owners = Array.from({ length: layout.sizes.vcpus + 1 }, (_, id) => vcpuId(id));
    this.#sets = owners.map((id) => new CounterSet(memory, layout, id));
    this.#seen = owners.map(() => COUNTER_NAMES.map(() => 0));
    this.#totals = owners.map(() => COUNTER_NAMES.map(() => 0));
  }

  /** Looks at every counter. At least once in 2^32 of anything counted. */
  sample(): void {
    for (const [owner, set] of this.#sets.entries()) {
      const seen = this.#seen[owner] ?? [];
      const totals = this.#totals[owner] ?? [];
      for (let counter = 0; counter < COUNTER_NAMES.length; counter++) {
        const value = set.value(counter);
        const delta = (value - (seen[counter] ?? 0) + WORD) % WORD;
        seen[counter] = value;
        totals[counter] = (totals[counter] ?? 0) + delta;
      }
    }
  }

  /** Forgets what has been counted so far. */
  restart(): void {
    this.sample();
    for (const totals of this.#totals) totals.fill(0);
  }

  /** A counter of one vCPU when last looked at. */
  of(owner: number, counter: number): number {
    return this.#totals[owner]?.[counter] ?? 0;
  }

  /** Every counter, summed over all. */
  sums(): Record<string, number> {
    return Object.fromEntries(
      COUNTER_NAMES.map((name, counter) => [
        name,
        this.#totals.reduce((sum, totals) => sum + (totals[counter] ?? 0), 0),
      ]),
    );
  }
}
