/** What strategies have in common that draw schedules at random: they have no end, and most learn nothing. */
import type { Scheduler } from "../scheduler.ts";
import type { Learnt, Search } from "../strategy.ts";
import { RandomStream, derivedSeed } from "../random-stream.ts";

/** A strategy whose iteration `i` follows from its seed, `i` and what it has learnt. */
export abstract class Sampling implements Search {
  abstract readonly name: string;
  protected readonly random = new RandomStream(0);
  readonly #seed: number;

  /** Draws from a seed of 32 bits; each execution has a stream of its own. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  begin(_: Scheduler, iteration: number): boolean {
    this.random.reseed(derivedSeed(this.#seed, iteration));
    return true;
  }

  abstract choose(scheduler: Scheduler, enabled: number): number;

  abstract committed(scheduler: Scheduler, thread: number): void;

  abstract spawned(scheduler: Scheduler, thread: number): void;

  abstract end(scheduler: Scheduler, ending: number): void;

  completed(): string | null {
    return null;
  }

  remaining(): number | null {
    return null;
  }

  learnt(): Learnt {
    return {};
  }

  abstract adopt(learnt: Learnt): void;
}
