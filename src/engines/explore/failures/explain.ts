/**
 * Why a minimised schedule fails: each pair of conflicting operations of different threads is tried the other way round;
 * a pair whose reversal makes the failure go away is an order that the failure needs (concurrency 3.12, step 8).
 */
import { DirectedStrategy, defaultChoice } from "../directives.ts";
import type { Directive } from "../directives.ts";
import { execute, keyOfFailure } from "../execution.ts";
import type { RecordedExecution } from "../execution.ts";
import type { Scheduler } from "../scheduler.ts";
import type { Strategy } from "../strategy.ts";
import { conflict } from "../trace-recorder.ts";
import type { Step } from "../trace-recorder.ts";
import type { World } from "../world.ts";

/** An order that the failure needs: one step of the trace before another, by index. */
export interface Constraint {
  readonly first: number;
  readonly second: number;
}

/** Most pairs that are tried. */
const PAIRS_MAX = 300;

/** The orders that a failing execution needs, in the order of the trace; those of bookkeeping behind the others. */
export function requiredOrders(
  world: World,
  { trace, directives }: RecordedExecution,
  key: string,
): Constraint[] {
  const orders = racingPairs(trace)
    .slice(-PAIRS_MAX)
    .filter((pair) => {
      const reversing = new ReversingStrategy(trace, directives, pair);
      const execution = execute(world, reversing, 0);
      if (execution === null || !reversing.hasReversed) return false;
      return !execution.failures.some((each) => keyOfFailure(each) === key);
    });
  const rank = ({ first }: Constraint): number =>
    Number(world.isBookkeeping?.(trace[first]?.cell ?? 0) === true);
  return withoutImplied(orders, trace).toSorted((a, b) => rank(a) - rank(b));
}

/**
 * Pairs of conflicting steps of different threads, each step with the few that come last before it: the nearest may be
 * one that cannot come later, like the release of a lock before another's acquisition.
 */
export function racingPairs(trace: readonly Step[]): Constraint[] {
  const pairs: Constraint[] = [];
  const last = new Map<number, number[]>();
  for (const [second, step] of trace.entries()) {
    const found = new Set<number>();
    for (const cell of step.other >= 0 ? [step.cell, step.other] : [step.cell]) {
      const earlier = last.get(cell) ?? [];
      for (const first of earlier.filter((index) => isRace(trace[index], step)).slice(-PARTNERS))
        found.add(first);
      earlier.push(second);
      if (earlier.length > RECENT) earlier.shift();
      last.set(cell, earlier);
    }
    for (const first of found) pairs.push({ first, second });
  }
  return pairs;
}

const PARTNERS = 3;
const RECENT = 16;

function isRace(before: Step | undefined, step: Step): boolean {
  return before !== undefined && before.thread !== step.thread && conflict(before, step);
}

/** Without the orders that follow from another and from the order of each thread's own steps. */
function withoutImplied(orders: readonly Constraint[], trace: readonly Step[]): Constraint[] {
  const isSameThread = (a: number, b: number): boolean => trace[a]?.thread === trace[b]?.thread;
  return orders.filter(
    (order) =>
      !orders.some(
        (other) =>
          other !== order &&
          isSameThread(other.first, order.first) &&
          isSameThread(other.second, order.second) &&
          other.first >= order.first &&
          other.second <= order.second,
      ),
  );
}

/** Follows a trace up to the first of two steps, then holds its thread back until the second has been performed. */
class ReversingStrategy implements Strategy {
  readonly name = "reversing";
  /** Whether the second step came before the first: some orders are due to the program itself. */
  hasReversed = false;
  readonly #trace: readonly Step[];
  readonly #directed: DirectedStrategy;
  readonly #first: number;
  readonly #held: number;
  readonly #hurried: number;
  /** Operations that the second step's thread has performed when the step is. */
  readonly #until: number;
  #step = 0;
  /** Operations that it has performed: the scheduler's own count begins only when the thread does. */
  #performed = 0;
  #hasGone = false;

  constructor(trace: readonly Step[], directives: readonly Directive[], { first, second }: Constraint) {
    this.#trace = trace;
    this.#directed = new DirectedStrategy(directives);
    this.#first = first;
    this.#held = trace[first]?.thread ?? 0;
    this.#hurried = trace[second]?.thread ?? 0;
    this.#until = trace.slice(0, second + 1).filter(({ thread }) => thread === this.#hurried).length;
  }

  begin(): boolean {
    this.#step = 0;
    this.#performed = 0;
    this.#hasGone = false;
    this.hasReversed = false;
    return true;
  }

  choose(scheduler: Scheduler, enabled: number): number {
    if (this.#step < this.#first) {
      const next = this.#trace[this.#step]?.thread ?? 0;
      if (((enabled >>> next) & 1) !== 0) return next;
    } else if (!this.#hasGone && this.#performed < this.#until) {
      if (((enabled >>> this.#hurried) & 1) !== 0) return this.#hurried;
      const others = enabled & ~(1 << this.#held);
      if (others !== 0) return defaultChoice(scheduler.current, others);
    }
    return this.#directed.choose(scheduler, enabled);
  }

  committed(_: Scheduler, thread: number): void {
    if (thread === this.#hurried) this.#performed++;
    if (this.#step++ < this.#first) return;
    if (thread === this.#held) this.#hasGone = true;
    if (thread === this.#hurried && this.#performed === this.#until) this.hasReversed = !this.#hasGone;
  }

  spawned(): void {
    // Nothing to learn.
  }

  end(): void {
    // Nothing to learn.
  }
}
