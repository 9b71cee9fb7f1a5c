/** When those who wait go on: they look again, or are woken first, and of several who look none is always the first. */
import type { CostModel } from "./cost-model.ts";

/** The times of awakening of one simulation. */
export class Awakening {
  /** Time after which a waiting thread sleeps; 0: it spins for ever, unless it is asleep by the nature of its wait. */
  readonly spinLimit: number;
  /** What waking one who sleeps costs the one who wakes it. */
  readonly wake: number;
  /** Sleepers that were woken. */
  woken = 0;
  readonly #pause: number;
  readonly #wakeup: number;
  readonly #jitter: number;
  #random: number;

  constructor({ nanos }: Pick<CostModel, "nanos">, seed: number) {
    this.spinLimit = nanos.spinLimit;
    this.wake = nanos.wake;
    this.#pause = nanos.pause;
    this.#wakeup = nanos.wakeup;
    this.#jitter = nanos.transfer;
    this.#random = (seed | 0) === 0 ? 1 : seed | 0;
  }

  /**
   * When a thread that has waited since then goes on after a write. Who is `asleep` by the nature of its wait, at HLT or at
   * a futex, was awake for as long as the limit says, too: on threads everybody waits so (memory/wait.ts).
   */
  wokenAt(since: number, writtenAt: number, isAsleep: boolean): number {
    const at = Math.max(since, writtenAt);
    const sleeps = this.spinLimit === 0 ? isAsleep : at - since > this.spinLimit;
    if (sleeps) {
      this.woken++;
      return at + this.#wakeup;
    }
    return at + this.#pause + this.#below(this.#jitter + 1);
  }

  /** Those who read a line anew come in any order. */
  #below(bound: number): number {
    let state = this.#random;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#random = state;
    return (state >>> 0) % bound;
  }
}
