/**
 * Probabilistic concurrency testing (concurrency 3.2): the thread with the highest of random priorities runs, and at
 * `depth - 1` random points the one that runs falls below all others. A bug that takes `depth` ordering constraints is
 * hit with a probability of at least 1 / (threads * points^(depth - 1)).
 */
import { AccessKind } from "../../coroutine/accessors.ts";
import { Ending, THREADS_MAX } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { Learnt } from "../strategy.ts";
import { Sampling } from "./sampling.ts";
import { anyOf, isAtMostOne, lowestOf } from "./thread-set.ts";

const YIELD = AccessKind.yield;
/** Priorities hold for so many times the points expected; then the execution goes on as a random walk, which is fair. */
const UNFAIR_TIMES = 10;
const UNFAIR_LEAST = 1000;

/** Depth of each iteration: any from `depthMin` to `depthMax`. */
export interface PctOptions {
  readonly seed: number;
  readonly depthMin: number;
  readonly depthMax: number;
}

/** Random priorities with change points. Points are those at which more than one thread can go on. */
export class Pct extends Sampling {
  readonly name = "pct";
  readonly #depthMin: number;
  readonly #depthMax: number;
  /** Above 0 until lowered; the later lowered, the further below. */
  readonly #priorities = new Float64Array(THREADS_MAX);
  readonly #changes: number[] = [];
  #threads = 0;
  #points = 0;
  #fairFrom = 0;
  #floor = 0;
  /** Most points of an execution so far; 0 when not known, and what needs change points is a random walk to find out. */
  #pointsMax = 0;

  constructor({ seed, depthMin, depthMax }: PctOptions) {
    super(seed);
    this.#depthMin = depthMin;
    this.#depthMax = depthMax;
  }

  override begin(scheduler: Scheduler, iteration: number): boolean {
    super.begin(scheduler, iteration);
    this.#threads = 0;
    this.#points = 0;
    const most = this.#pointsMax;
    const depth = this.#depthMin + this.random.below(this.#depthMax - this.#depthMin + 1);
    const isWalk = most === 0 && depth > 1;
    this.#fairFrom = isWalk ? 0 : most * UNFAIR_TIMES + UNFAIR_LEAST;
    this.#changes.length = 0;
    while (this.#changes.length < Math.min(depth - 1, most)) {
      const point = 1 + Math.floor(this.random.fraction() * most);
      if (!this.#changes.includes(point)) this.#changes.push(point);
    }
    this.#floor = -this.#changes.length;
    return true;
  }

  choose(scheduler: Scheduler, enabled: number): number {
    if (isAtMostOne(enabled)) return lowestOf(enabled);
    const point = ++this.#points;
    if (point > this.#fairFrom) return anyOf(enabled, this.random);
    while (this.#threads < scheduler.threads) this.#priorities[this.#threads++] = 1 + this.random.fraction();
    const thread = this.#highest(enabled);
    const change = this.#changes.indexOf(point);
    if (change >= 0) this.#priorities[thread] = -1 - change;
    return thread;
  }

  committed(scheduler: Scheduler, thread: number): void {
    // A thread that says that it makes no progress would run for ever if it kept its priority.
    if (scheduler.kind[thread] === YIELD) this.#priorities[thread] = --this.#floor;
  }

  spawned(): void {
    // Its priority is drawn at the next choice.
  }

  end(_: Scheduler, ending: number): void {
    // A loop that starved the others has as many points as it was let; change points must not be spread over them.
    const isWhole = ending === Ending.done || ending === Ending.deadlock;
    const wasFair = this.#fairFrom === 0 || this.#points <= this.#fairFrom;
    if (isWhole && wasFair) this.#pointsMax = Math.max(this.#pointsMax, this.#points);
  }

  override learnt(): Learnt {
    return { points: this.#pointsMax };
  }

  adopt(learnt: Learnt): void {
    this.#pointsMax = learnt["points"] ?? 0;
  }

  #highest(enabled: number): number {
    let best = lowestOf(enabled);
    for (let left = enabled & (enabled - 1); left !== 0; left &= left - 1) {
      const thread = lowestOf(left);
      if ((this.#priorities[thread] ?? 0) > (this.#priorities[best] ?? 0)) best = thread;
    }
    return best;
  }
}
