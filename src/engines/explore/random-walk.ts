/** The uniform random walk: at each point, any thread that can go on, with the same probability (concurrency 3.1). */
import type { Scheduler } from "./scheduler.ts";
import type { Strategy } from "./strategy.ts";
import { RandomStream } from "./random-stream.ts";

/** A random walk through the schedules. */
export class RandomWalk implements Strategy {
  readonly #random: RandomStream;

  constructor(random: RandomStream) {
    this.#random = random;
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
}
