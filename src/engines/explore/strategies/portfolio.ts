/**
 * No single strategy wins (concurrency 4.3), so the default takes turns: a few random walks that measure the program; then,
 * without end, partial order sampling, random priorities, the uniform walk and the random walk, each for its share of the
 * executions. One in four is a systematic search's while there is one: for a tiny program all schedules with at
 * most two preemptions, for a small one source-DPOR. The estimate of what is small can be wrong by any factor.
 */
import type { Scheduler } from "../scheduler.ts";
import type { Learnt, Search } from "../strategy.ts";
import { RandomStream, derivedSeed } from "../random-stream.ts";
import { BoundedSearch } from "./bounded-search.ts";
import { PartialOrderSampling } from "./pos.ts";
import { Pct } from "./pct.ts";
import { RandomWalk } from "./random-walk.ts";
import { SourceDpor } from "./source-dpor.ts";
import { UniformWalk } from "./urw.ts";

/** Random walks that measure the program first. */
const MEASURING = 16;
/** A program is tiny with so few points at which there is a choice. */
const TINY_POINTS = 64;
/** And small with so few interleavings. */
const SMALL_TREE = 1e5;
/** Searches that take more executions than this are given up: of all schedules with few preemptions, and of all. */
const BOUNDED_MOST = 5000;
const DPOR_MOST = 2e5;
/** One execution in so many is a systematic search's. */
const SYSTEMATIC_ONE_IN = 4;
const PREEMPTIONS_MOST = 2;
/** Shares of the turns; what is left is the random walk's. */
const POS_PERCENT = 40;
const PCT_PERCENT = 25;
const URW_PERCENT = 20;
const PCT_DEPTH_MOST = 4;

/** What a portfolio is made of. */
export interface PortfolioOptions {
  readonly seed: number;
  /** Whether tiny and small programs are searched systematically first. One worker of a campaign is enough for that. */
  readonly isSystematic: boolean;
  /** Whether there are other turns than those of the searches. */
  readonly isSampling: boolean;
}

/** Several strategies by turns. */
export class Portfolio implements Search {
  readonly name = "portfolio";
  readonly #seed: number;
  readonly #isSampling: boolean;
  readonly #turns = new RandomStream(0);
  readonly #walk: RandomWalk;
  readonly #uniform: UniformWalk;
  readonly #pct: Pct;
  readonly #sampling: PartialOrderSampling;
  readonly #bounded = new BoundedSearch({ name: "ipb", bounding: "preemptions", boundMax: PREEMPTIONS_MOST });
  readonly #dpor = new SourceDpor();
  #active: Search;
  /** Walks that are still to measure the program. */
  #measuring: number;
  /** Searches that come before the turns. */
  readonly #searches: (BoundedSearch | SourceDpor)[] = [];
  #searched = 0;
  #executions = 0;

  constructor({ seed, isSystematic, isSampling }: PortfolioOptions) {
    this.#seed = seed;
    this.#isSampling = isSampling;
    this.#measuring = isSystematic ? MEASURING : 0;
    this.#walk = new RandomWalk(derivedSeed(seed, 1));
    this.#uniform = new UniformWalk(derivedSeed(seed, 2));
    this.#pct = new Pct({ seed: derivedSeed(seed, 3), depthMin: 1, depthMax: PCT_DEPTH_MOST });
    this.#sampling = new PartialOrderSampling(derivedSeed(seed, 4));
    this.#active = this.#walk;
  }

  /** Name of the strategy whose turn it is. */
  get active(): string {
    return this.#active.name;
  }

  begin(scheduler: Scheduler, iteration: number): boolean {
    if (this.#measuring > 0) return this.#walk.begin(scheduler, iteration);
    const isSearchesTurn = !this.#isSampling || ++this.#executions % SYSTEMATIC_ONE_IN === 0;
    for (let search = this.#searches[0]; search !== undefined; search = this.#searches[0]) {
      if (!isSearchesTurn) break;
      this.#active = search;
      const most = search === this.#dpor ? DPOR_MOST : BOUNDED_MOST;
      if (this.#searched++ < most && search.begin()) return true;
      if (search.hasAll) return false;
      this.#searched = 0;
      this.#searches.shift();
    }
    if (!this.#isSampling) return false;
    this.#active = this.#turnOf(iteration);
    return this.#active.begin(scheduler, iteration);
  }

  choose(scheduler: Scheduler, enabled: number): number {
    return this.#active.choose(scheduler, enabled);
  }

  committed(scheduler: Scheduler, thread: number): void {
    this.#active.committed(scheduler, thread);
  }

  spawned(scheduler: Scheduler, thread: number): void {
    this.#active.spawned(scheduler, thread);
  }

  end(scheduler: Scheduler, ending: number): void {
    this.#active.end(scheduler, ending);
    if (this.#measuring > 0 && --this.#measuring === 0) this.#plan();
  }

  /** Whether a search has tried everything. */
  get hasAll(): boolean {
    return this.#searches[0]?.hasAll === true;
  }

  completed(): string | null {
    return this.#dpor.completed() ?? this.#bounded.completed();
  }

  remaining(): number | null {
    return this.#active.remaining();
  }

  learnt(): Learnt {
    const learners = [this.#pct, this.#uniform];
    return Object.fromEntries(
      learners.flatMap((learner) =>
        Object.entries(learner.learnt()).map(([name, value]) => [`${learner.name} ${name}`, value]),
      ),
    );
  }

  adopt(learnt: Learnt): void {
    for (const learner of [this.#pct, this.#uniform]) {
      const prefix = `${learner.name} `;
      const own = Object.entries(learnt).filter(([name]) => name.startsWith(prefix));
      learner.adopt(Object.fromEntries(own.map(([name, value]) => [name.slice(prefix.length), value])));
    }
  }

  /** Which searches the program is small enough for. */
  #plan(): void {
    const { tree } = this.#walk;
    const leaves = tree.leaves();
    if (leaves === null) return;
    if (tree.branchingsMost <= TINY_POINTS) this.#searches.push(this.#bounded);
    if (leaves < SMALL_TREE) this.#searches.push(this.#dpor);
  }

  #turnOf(iteration: number): Search {
    this.#turns.reseed(derivedSeed(this.#seed, iteration));
    const turn = this.#turns.below(100);
    if (turn < POS_PERCENT) return this.#sampling;
    if (turn < POS_PERCENT + PCT_PERCENT) return this.#pct;
    return turn < POS_PERCENT + PCT_PERCENT + URW_PERCENT ? this.#uniform : this.#walk;
  }
}
