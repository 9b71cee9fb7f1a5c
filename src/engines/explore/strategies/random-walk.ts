/** The uniform random walk: at each point, any thread that can go on, with the same probability (concurrency 3.1). */
import type { Scheduler } from "../scheduler.ts";
import { Sampling } from "./sampling.ts";
import { countOf, isAtMostOne, lowestOf, nthOf } from "./thread-set.ts";
import { TreeEstimate } from "./tree-estimate.ts";

/** A random walk through the schedules, which measures their number on the way. */
export class RandomWalk extends Sampling {
  readonly name = "random";
  readonly tree = new TreeEstimate();

  choose(_: Scheduler, enabled: number): number {
    if (isAtMostOne(enabled)) return lowestOf(enabled);
    const branches = countOf(enabled);
    this.tree.branch(branches);
    return nthOf(enabled, this.random.below(branches));
  }

  committed(): void {
    // A walk has no memory.
  }

  spawned(): void {
    // Nor expectations.
  }

  end({ live, enabled }: Scheduler): void {
    const isLeaf = live === 0 || enabled === 0;
    if (isLeaf) this.tree.leaf();
    else this.tree.cut();
  }

  adopt(): void {
    // Nothing to expect.
  }
}
