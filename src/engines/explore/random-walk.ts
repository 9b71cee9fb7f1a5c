/** The uniform random walk: at each point, any thread that can go on, with the same probability (concurrency 3.1). */
import type { Scheduler } from "./scheduler.ts";
import type { Strategy } from "./strategy.ts";
import { RandomStream, derivedSeed } from "./random-stream.ts";

/** A random walk through the schedules. */
export class RandomWalk implements Strategy {
  readonly name = "random";
  readonly #random = new RandomStream(0);
  readonly #seed: number;

  /** A walk from a seed of 32 bits; each execution draws from a stream of its own. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  begin(_: Scheduler, iteration: number): boolean {
    this.#random.reseed(derivedSeed(this.#seed, iteration));
    return true;
  }

  choose(_: Scheduler, enabled: number): number {
    if ((enabled & (enabled - 1)) === 0) return 31 - Math.clz32(enabled);
    let left = enabled;
    let count = 0;
    for (let rest = enabled; rest !== 0; rest &= rest - 1) count++;
    for (let skip = this.#random.below(count); skip > 0; skip--) left &= left - 1;
    return 31 - Math.clz32(left & -left);
  }

  committed(): void {
    // A walk has no memory.
  }

  spawned(): void {
    // Nor expectations.
  }

  end(): void {
    // Nothing to learn.
  }
}
