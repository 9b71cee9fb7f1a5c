/**
 * PCT as it was published (concurrency 3.2, without what engineering added): every step counts, also those without a
 * choice, and their number is learnt from a first execution that runs the oldest thread. The published figures of 4.3
 * come from this.
 */
import type { Scheduler } from "../../src/engines/explore/scheduler.ts";
import type { Learnt, Search } from "../../src/engines/explore/strategy.ts";
import { RandomStream, derivedSeed } from "../../src/engines/explore/random-stream.ts";

/** Random priorities with `depth - 1` change points among all steps. */
export class PaperPct implements Search {
  readonly name = "paper-pct";
  readonly #seed: number;
  readonly #depth: number;
  readonly #random = new RandomStream(0);
  #priorities: number[] = [];
  #changes: number[] = [];
  #step = 0;
  #stepsMax = 0;
  #isLearning = false;

  constructor(seed: number, depth: number) {
    this.#seed = seed;
    this.#depth = depth;
  }

  begin(_: Scheduler, iteration: number): boolean {
    this.#random.reseed(derivedSeed(this.#seed, iteration));
    this.#priorities = [];
    this.#step = 0;
    this.#isLearning = this.#stepsMax === 0 && this.#depth > 1;
    this.#changes = [];
    while (this.#changes.length < Math.min(this.#depth - 1, this.#stepsMax)) {
      const step = 1 + this.#random.below(this.#stepsMax);
      if (!this.#changes.includes(step)) this.#changes.push(step);
    }
    return true;
  }

  choose({ threads }: Scheduler, enabled: number): number {
    this.#step++;
    while (this.#priorities.length < threads) this.#priorities.push(1 + this.#random.fraction());
    const able = this.#priorities.keys().filter((thread) => ((enabled >>> thread) & 1) === 1);
    const ranked = [...able].toSorted((a, b) => (this.#priorities[b] ?? 0) - (this.#priorities[a] ?? 0));
    const thread = (this.#isLearning ? Math.min(...ranked) : ranked[0]) ?? -1;
    const change = this.#changes.indexOf(this.#step);
    if (change >= 0) this.#priorities[thread] = -1 - change;
    return thread;
  }

  committed(): void {
    // Priorities change after steps, not because of operations.
  }

  spawned(): void {
    // A new thread's priority is drawn at the next choice.
  }

  end(): void {
    this.#stepsMax = Math.max(this.#stepsMax, this.#step);
  }

  completed(): string | null {
    return null;
  }

  remaining(): number | null {
    return null;
  }

  learnt(): Learnt {
    return { steps: this.#stepsMax };
  }

  adopt(learnt: Learnt): void {
    this.#stepsMax = learnt["steps"] ?? 0;
  }
}
