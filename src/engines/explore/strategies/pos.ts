/**
 * Partial order sampling (concurrency 3.3): each pending operation has a random priority, the highest runs, and those
 * that race with what ran draw anew, so that each order of racing operations stays likely.
 */
import { AccessKind } from "../../coroutine/accessors.ts";
import { THREADS_MAX } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import { arePendingDependent } from "./dependence.ts";
import { Sampling } from "./sampling.ts";
import { lowestOf } from "./thread-set.ts";

const YIELD = AccessKind.yield;
/** All priorities are drawn anew after so many operations: nobody starves because of one unlucky draw. */
const STEPS_BETWEEN_DRAWS = 1 << 13;

/** Random priorities of pending operations. */
export class PartialOrderSampling extends Sampling {
  readonly name = "pos";
  readonly #priorities = new Uint32Array(THREADS_MAX);
  #threads = 0;

  override begin(scheduler: Scheduler, iteration: number): boolean {
    this.#threads = 0;
    return super.begin(scheduler, iteration);
  }

  choose(scheduler: Scheduler, enabled: number): number {
    while (this.#threads < scheduler.threads) this.#priorities[this.#threads++] = this.random.next();
    let best = lowestOf(enabled);
    for (let left = enabled & (enabled - 1); left !== 0; left &= left - 1) {
      const thread = lowestOf(left);
      if ((this.#priorities[thread] ?? 0) > (this.#priorities[best] ?? 0)) best = thread;
    }
    return best;
  }

  committed(scheduler: Scheduler, thread: number): void {
    // What the thread will do next is another operation.
    this.#priorities[thread] = this.random.next();
    // A thread that makes no progress draws until it has a low one; the others must not wait for that.
    const isDrawOfAll = scheduler.kind[thread] === YIELD || scheduler.steps % STEPS_BETWEEN_DRAWS === 0;
    for (let left = scheduler.live & ~(1 << thread); left !== 0; left &= left - 1) {
      const other = lowestOf(left);
      // Those that cannot go on too: who gets a lock next is drawn among all that wait for it.
      if (isDrawOfAll || arePendingDependent(scheduler, thread, other))
        this.#priorities[other] = this.random.next();
    }
  }

  spawned(): void {
    // Its priority is drawn at the next choice.
  }

  end(): void {
    // Nothing to learn.
  }

  adopt(): void {
    // Nothing to expect.
  }
}
