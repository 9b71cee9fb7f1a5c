/** Cuts a failing schedule down to the few switches that it needs (concurrency 3.12). */
import type { Directive } from "../directives.ts";
import { keyOfFailure, replay } from "../execution.ts";
import type { RecordedExecution } from "../execution.ts";
import type { Step } from "../trace-recorder.ts";
import type { World } from "../world.ts";

/** How often a schedule changes threads. */
export interface SwitchCount {
  /** Changes of the thread that runs. */
  readonly switches: number;
  /** Those away from a thread that could have gone on. */
  readonly preemptions: number;
}

/** A minimised failure. */
export interface Minimised {
  readonly execution: RecordedExecution;
  readonly before: SwitchCount;
  readonly after: SwitchCount;
  /** Executions that it took. */
  readonly replays: number;
}

/** Bounds of a minimisation. */
export interface MinimiseLimits {
  readonly replaysMax: number;
  /** Asked now and then; true ends it with what it has. */
  readonly isOver?: () => boolean;
}

const ROUNDS_MAX = 5;
const FURTHEST_MOVE = 64;

/** Counts the switches of a trace. */
export function countSwitches(trace: readonly Step[]): SwitchCount {
  let switches = 0;
  let preemptions = 0;
  for (let index = 1; index < trace.length; index++) {
    const previous = trace[index - 1]?.thread ?? 0;
    const step = trace[index];
    if (step === undefined || step.isPending || step.thread === previous) continue;
    switches++;
    if (((step.enabled >>> previous) & 1) !== 0) preemptions++;
  }
  return { switches, preemptions };
}

/**
 * The smallest schedule found that still fails with the same key. The execution given must be one that does; so is the
 * one that comes back.
 */
export function minimise(
  world: World,
  failing: RecordedExecution,
  key: string,
  limits: MinimiseLimits,
): Minimised {
  const search = new Minimisation(world, failing, key, limits);
  search.run();
  return {
    execution: search.best,
    before: countSwitches(failing.trace),
    after: countSwitches(search.best.trace),
    replays: search.replays,
  };
}

class Minimisation {
  best: RecordedExecution;
  replays = 0;
  readonly #world: World;
  readonly #key: string;
  readonly #limits: MinimiseLimits;

  constructor(world: World, failing: RecordedExecution, key: string, limits: MinimiseLimits) {
    this.#world = world;
    this.best = failing;
    this.#key = key;
    this.#limits = limits;
  }

  run(): void {
    this.#shortestPrefix();
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const { length } = this.best.directives;
      this.#takeOut();
      this.#moveLater();
      if (this.best.directives.length === length || this.#isOver()) break;
    }
  }

  /** Whether a schedule fails as it should; the best one is kept. Recorded anew, so that dead directives go. */
  #fails(directives: readonly Directive[]): boolean {
    this.replays++;
    const execution = replay(this.#world, directives);
    if (!execution.failures.some((each) => keyOfFailure(each) === this.#key)) return false;
    this.best = execution;
    return true;
  }

  #isOver(): boolean {
    return this.replays >= this.#limits.replaysMax || this.#limits.isOver?.() === true;
  }

  /** What comes after the failure is not needed: most of a long random schedule goes at once. */
  #shortestPrefix(): void {
    const { directives } = this.best;
    let fails = directives.length;
    let passes = -1;
    while (fails - passes > 1 && !this.#isOver()) {
      const middle = (fails + passes) >>> 1;
      if (this.#fails(directives.slice(0, middle))) fails = middle;
      else passes = middle;
    }
  }

  /** Delta debugging by complements: leaves out ever smaller parts (Zeller). */
  #takeOut(): void {
    let parts = 2;
    while (this.best.directives.length > 0 && !this.#isOver()) {
      const { directives } = this.best;
      parts = Math.min(parts, directives.length);
      if (this.#takeOutOneOf(parts)) parts = Math.max(2, parts - 1);
      else if (parts === directives.length) return;
      else parts *= 2;
    }
  }

  #takeOutOneOf(parts: number): boolean {
    const { directives } = this.best;
    const size = Math.ceil(directives.length / parts);
    for (let from = 0; from < directives.length && !this.#isOver(); from += size) {
      const rest = [...directives.slice(0, from), ...directives.slice(from + size)];
      if (this.#fails(rest)) return true;
    }
    return false;
  }

  /** Moves each switch to the latest place at which it still fails: what happens before it does not matter. */
  #moveLater(): void {
    for (let index = 0; index < this.best.directives.length && !this.#isOver(); index++) {
      for (let step = 1; step <= FURTHEST_MOVE && !this.#isOver(); step *= 2) {
        const moved = this.best.directives.map((each, at) =>
          at === index ? { ...each, performed: each.performed + step } : each,
        );
        const { length } = this.best.directives;
        const before = this.best;
        if (!this.#fails(moved)) break;
        if (this.best.directives.length <= length) continue;
        this.best = before;
        break;
      }
    }
  }
}
