/**
 * Systematic search in the order of costs (concurrency 3.5). The choices of a point stand in the order of a round robin
 * without preemption: the thread that runs first, then the others by number from it on. What the later ones cost tells
 * the searches apart: nothing (depth first), 1 for a preemption, or 1 for each choice passed over, a delay. All
 * schedules of cost 0 come first, then those of cost 1, and so on.
 */
import { AccessKind } from "../../coroutine/accessors.ts";
import { Ending } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { Learnt, Search } from "../strategy.ts";
import { countOf, isAtMostOne, lowestOf, nthAfter } from "./thread-set.ts";
import { countOfExecutions, searchedShare } from "./tree-estimate.ts";

const YIELD = AccessKind.yield;

/** What a choice costs. */
export type Bounding = "none" | "preemptions" | "delays";

/** What is searched. */
export interface BoundedOptions {
  readonly name: string;
  readonly bounding: Bounding;
  /** The search ends after the schedules of this cost. */
  readonly boundMax: number;
}

/** A point with more than one choice. */
interface Node {
  /** Thread that ran, when it can go on; -1 otherwise. */
  readonly current: number;
  /** The other threads that can go on. */
  readonly others: number;
  /** Cost of the choices before it. */
  readonly cost: number;
  /** Choices within the bound. */
  readonly choices: number;
  /** The choice taken now. */
  taken: number;
}

/** Depth-first search with iterative bounds. */
export class BoundedSearch implements Search {
  readonly name: string;
  readonly #bounding: Bounding;
  readonly #boundMax: number;
  readonly #nodes: Node[] = [];
  #bound = 0;
  /** Node that comes next in this execution. */
  #depth = 0;
  #cost = 0;
  #current = -1;
  #hasYielded = false;
  #isFirst = true;
  /** The bound has cut choices off in this round. */
  #isCutOff = false;
  #isOver = false;
  /** Executions of this round: all, and those with the very cost of the bound. */
  #executions = 0;
  #counted = 0;
  #countedBefore = 0;
  /** Executions that did not come to their end; one that a failure has stopped did, as far as it goes. */
  #cut = 0;

  constructor({ name, bounding, boundMax }: BoundedOptions) {
    this.name = name;
    this.#bounding = bounding;
    this.#boundMax = bounding === "none" ? 0 : boundMax;
  }

  /** Schedules so far, each once, however many rounds went through it. */
  get schedules(): number {
    return this.#countedBefore + this.#counted;
  }

  /** Most that a schedule of this round may cost. */
  get bound(): number {
    return this.#bound;
  }

  /** Whether every schedule of the program was executed to its end. */
  get hasAll(): boolean {
    return this.#isOver && !this.#isCutOff && this.#cut === 0;
  }

  begin(): boolean {
    if (this.#isOver) return false;
    if (!this.#isFirst && !this.#advance() && !this.#nextRound()) return false;
    this.#isFirst = false;
    this.#depth = 0;
    this.#cost = 0;
    this.#current = -1;
    this.#hasYielded = false;
    return true;
  }

  choose(_: Scheduler, enabled: number): number {
    if (isAtMostOne(enabled)) return lowestOf(enabled);
    const bit = this.#current < 0 ? 0 : 1 << this.#current;
    // Who makes no progress must let others run, at no cost: loops that wait would never end otherwise.
    const goesOn = (enabled & bit) !== 0 && !this.#hasYielded;
    const others = enabled & ~bit;
    const choices = this.#choices(goesOn, countOf(others));
    if (choices === 1) return goesOn ? this.#current : nthAfter(others, this.#current, 0);
    let node = this.#nodes[this.#depth];
    if (node === undefined) {
      node = { current: goesOn ? this.#current : -1, others, cost: this.#cost, choices, taken: 0 };
      this.#nodes.push(node);
    }
    this.#depth++;
    const { taken } = node;
    this.#cost = node.cost + this.#costOf(goesOn, taken);
    if (!goesOn) return nthAfter(others, this.#current, taken);
    return taken === 0 ? this.#current : nthAfter(others, this.#current, taken - 1);
  }

  committed(scheduler: Scheduler, thread: number): void {
    this.#current = thread;
    this.#hasYielded = scheduler.kind[thread] === YIELD;
  }

  spawned(): void {
    // A thread that begins is a choice like another.
  }

  end(_: Scheduler, ending: number): void {
    this.#executions++;
    if (this.#cost === this.#bound || this.#bounding === "none") this.#counted++;
    if (ending === Ending.capped || ending === Ending.abandoned) this.#cut++;
  }

  completed(): string | null {
    if (this.#isOver && this.#cut > 0) return `inconclusive: ${countOfExecutions(this.#cut)} were cut short`;
    if (this.#isOver && !this.#isCutOff) {
      return `no failure in any schedule (${countOfExecutions(this.schedules)})`;
    }
    const bound = this.#isOver ? this.#bound : this.#bound - 1;
    if (bound < 0 || this.#cut > 0) return null;
    const unit = this.#bounding === "delays" ? "delay" : "preemption";
    const count = this.#isOver ? this.schedules : this.#countedBefore;
    const most =
      bound === 0 ? `without a ${unit}` : `with <= ${String(bound)} ${unit}${bound > 1 ? "s" : ""}`;
    return `no failure ${most} (${countOfExecutions(count)})`;
  }

  /** Executions of this round that remain. */
  remaining(): number | null {
    if (this.#isOver) return 0;
    const share = searchedShare(this.#nodes.map(({ taken, choices }) => ({ done: taken, all: choices })));
    return share === 0 ? null : Math.max(0, this.#executions / share - this.#executions);
  }

  learnt(): Learnt {
    return {};
  }

  adopt(): void {
    // A search goes by its own stack.
  }

  /** How many of a point's choices are within the bound. */
  #choices(goesOn: boolean, others: number): number {
    const all = goesOn ? others + 1 : others;
    if (this.#bounding === "none") return all;
    const left = this.#bound - this.#cost;
    let within = all;
    if (this.#bounding === "delays") within = Math.min(all, left + 1);
    else if (goesOn && left === 0) within = 1;
    if (within < all) this.#isCutOff = true;
    return within;
  }

  #costOf(goesOn: boolean, choice: number): number {
    if (this.#bounding === "delays") return choice;
    return this.#bounding === "preemptions" && goesOn && choice > 0 ? 1 : 0;
  }

  /** Takes the next choice of the deepest node that has one. */
  #advance(): boolean {
    for (let node = this.#nodes.at(-1); node !== undefined; node = this.#nodes.at(-1)) {
      node.taken++;
      if (node.taken < node.choices) return true;
      this.#nodes.pop();
    }
    return false;
  }

  #nextRound(): boolean {
    this.#isOver = !this.#isCutOff || this.#bound === this.#boundMax;
    if (this.#isOver) return false;
    this.#bound++;
    this.#isCutOff = false;
    this.#countedBefore += this.#counted;
    this.#counted = 0;
    this.#executions = 0;
    return true;
  }
}
