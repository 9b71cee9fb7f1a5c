/**
 * Why a minimised schedule fails: each pair of conflicting operations of different threads is tried the other way round;
 * a pair whose reversal makes the failure go away is an order that the failure needs (concurrency 3.12, step 8).
 */
import type { Directive } from "./directives.ts";
import { execute, keyOfFailure } from "./execution.ts";
import type { RecordedExecution } from "./execution.ts";
import { defaultChoice } from "./directives.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Strategy } from "./strategy.ts";
import { conflict } from "./trace-recorder.ts";
import type { Step } from "./trace-recorder.ts";
import type { World } from "./world.ts";

/** An order that the failure needs: one step of the trace before another, by index. */
export interface Constraint {
  readonly first: number;
  readonly second: number;
}

/** Most pairs that are tried. */
const PAIRS_MAX = 300;

/** The orders that a failing execution needs, in the order of the trace. */
export function requiredOrders(
  world: World,
  { trace, directives }: RecordedExecution,
  key: string,
): Constraint[] {
  return racingPairs(trace)
    .slice(-PAIRS_MAX)
    .filter((pair) => !stillFails(world, trace, directives, pair, key));
}

function stillFails(
  world: World,
  trace: readonly Step[],
  directives: readonly Directive[],
  pair: Constraint,
  key: string,
): boolean {
  const execution = execute(world, new ReversingStrategy(trace, directives, pair), 0);
  return execution?.failures.some((each) => keyOfFailure(each) === key) === true;
}

/**
 * Pairs of conflicting steps of different threads with no conflicting step on the same cells between them: only those
 * can be turned round without turning another round first.
 */
export function racingPairs(trace: readonly Step[]): Constraint[] {
  const pairs: Constraint[] = [];
  const last = new Map<number, number[]>();
  for (const [second, step] of trace.entries()) {
    const cells = step.other >= 0 ? [step.cell, step.other] : [step.cell];
    for (const cell of cells) {
      const earlier = last.get(cell) ?? [];
      const found = earlier.findLast((index) => {
        const before = trace[index];
        return before !== undefined && before.thread !== step.thread && conflict(before, step);
      });
      if (found !== undefined && !pairs.some((pair) => pair.first === found && pair.second === second))
        pairs.push({ first: found, second });
      earlier.push(second);
      if (earlier.length > RECENT) earlier.shift();
      last.set(cell, earlier);
    }
  }
  return pairs;
}

const RECENT = 16;

/** Follows a trace up to the first of two steps, then lets the second's thread come first. */
class ReversingStrategy implements Strategy {
  readonly name = "reversing";
  readonly #trace: readonly Step[];
  readonly #directives = new Map<string, number>();
  readonly #first: number;
  readonly #thread: number;
  readonly #until: number;
  #step = 0;

  constructor(trace: readonly Step[], directives: readonly Directive[], { first, second }: Constraint) {
    this.#trace = trace;
    this.#first = first;
    this.#thread = trace[second]?.thread ?? 0;
    this.#until = trace.slice(0, second + 1).filter(({ thread }) => thread === this.#thread).length;
    for (const { thread, performed, next } of directives)
      this.#directives.set(`${String(thread)} ${String(performed)}`, next);
  }

  begin(): boolean {
    this.#step = 0;
    return true;
  }

  choose(scheduler: Scheduler, enabled: number): number {
    const { current, performed } = scheduler;
    if (this.#step < this.#first) {
      const next = this.#trace[this.#step]?.thread ?? 0;
      if (((enabled >>> next) & 1) !== 0) return next;
    } else if (((enabled >>> this.#thread) & 1) !== 0 && (performed[this.#thread] ?? 0) < this.#until) {
      return this.#thread;
    }
    const directed = this.#directives.get(`${String(current)} ${String(performed[current] ?? 0)}`);
    if (directed !== undefined && ((enabled >>> directed) & 1) !== 0) return directed;
    return defaultChoice(current, enabled);
  }

  committed(): void {
    this.#step++;
  }

  spawned(): void {
    // Nothing to learn.
  }

  end(): void {
    // Nothing to learn.
  }
}
