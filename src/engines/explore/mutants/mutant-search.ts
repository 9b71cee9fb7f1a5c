/**
 * What one thread does for one mutant: a search from each seed until the mutant is found by a check that its row names,
 * then its scenario without it for ten times as long.
 */
import { makeChecks } from "../checks/scenario-checks.ts";
import { RepeatingStrategy } from "../directives.ts";
import { execute, keyOfFailure, record } from "../execution.ts";
import { loadTarget } from "../load-world.ts";
import type { LoadedTarget } from "../load-world.ts";
import { minimise } from "../failures/minimise.ts";
import type { Mutant } from "./mutant.ts";
import { oracleOf, watchersOf } from "../oracles.ts";
import type { Failure } from "../program-world.ts";
import { ScenarioWorld } from "../scenario-world.ts";
import { SCHEDULER } from "../scheduler.ts";
import { SYSTEMATIC, createStrategy } from "../strategies/catalogue.ts";
import type { StrategyName } from "../strategies/catalogue.ts";
import type { ScenarioTarget } from "../target.ts";
import type { World } from "../world.ts";

/** Searches to make. Plain data. */
export interface MutantTask {
  /** The mutant's scenario with the mutant. */
  readonly target: ScenarioTarget;
  readonly strategies: readonly StrategyName[];
  readonly seeds: readonly number[];
  /** Bounds of one search; the first that is reached ends it. */
  readonly secondsMax: number;
  readonly pointsMax: number;
  /** 1 ends everything. */
  readonly over: Int32Array;
}

/** One search. */
export interface SearchOutcome {
  readonly strategy: StrategyName;
  readonly seed: number;
  /** The check that found it; null when none did that counts. */
  readonly check: string | null;
  readonly executions: number;
  readonly points: number;
  readonly seconds: number;
  /** Findings of other checks and crashes, which do not count. */
  readonly others: readonly string[];
  /** Thread switches of the minimised failure; null when it was not minimised. */
  readonly switches: number | null;
}

/** What a thread found out about a mutant. Plain data. */
export interface MutantReport {
  readonly id: string;
  readonly title: string;
  readonly oracles: readonly string[];
  readonly searches: readonly SearchOutcome[];
  readonly clean: CleanOutcome;
}

/** The scenario without the mutant. */
export interface CleanOutcome {
  readonly executions: number;
  readonly points: number;
  readonly violations: readonly string[];
}

/** Points without the mutant, as a multiple of the median with it. */
const CLEAN_TIMES = 10;
const CLEAN_POINTS_LEAST = 200_000;
const OTHERS_KEPT = 5;
/** Minimisation has a bound in points that is the same on every computer. */
const MINIMISE_REPLAYS_MAX = 2000;
const MINIMISE_POINTS_MAX = 10_000_000;

/** Does what a task says. The thread must have loaded nothing yet. */
export async function searchMutant(task: MutantTask): Promise<MutantReport> {
  const loaded = await loadTarget(task.target);
  const { mutant } = loaded;
  if (mutant === null) throw new Error("a search for a mutant wants one");
  const names = watchersOf(mutant.oracles);
  const world = new ScenarioWorld({ ...loaded.setup, checks: (each) => makeChecks(each, names) });
  const searches = task.strategies.flatMap((strategy, place) =>
    // A systematic search is the same from every seed.
    (SYSTEMATIC.has(strategy) ? task.seeds.slice(0, 1) : task.seeds).map((seed, index) =>
      new Search(world, mutant, task, { strategy, seed }).run(place === 0 && index === 0),
    ),
  );
  return {
    id: mutant.id,
    title: mutant.title,
    oracles: mutant.oracles,
    searches,
    clean: runClean(loaded, task, searches),
  };
}

class Search {
  readonly #world: World;
  readonly #mutant: Mutant;
  readonly #task: MutantTask;
  readonly #strategy: StrategyName;
  readonly #seed: number;
  readonly #others = new Set<string>();
  #executions = 0;
  #points = 0;

  constructor(
    world: World,
    mutant: Mutant,
    task: MutantTask,
    { strategy, seed }: Pick<SearchOutcome, "strategy" | "seed">,
  ) {
    this.#world = world;
    this.#mutant = mutant;
    this.#task = task;
    this.#strategy = strategy;
    this.#seed = seed;
  }

  run(isMinimised: boolean): SearchOutcome {
    const began = performance.now();
    const found = this.#search(began);
    const seconds = (performance.now() - began) / 1000;
    return {
      strategy: this.#strategy,
      seed: this.#seed,
      check: found?.check ?? null,
      executions: this.#executions,
      points: this.#points,
      seconds,
      others: [...this.#others].slice(0, OTHERS_KEPT),
      switches: found !== null && isMinimised ? this.#minimise(keyOfFailure(found)) : null,
    };
  }

  #search(began: number): Failure | null {
    const { secondsMax, pointsMax, over } = this.#task;
    const strategy = createStrategy(this.#strategy, { seed: this.#seed });
    while (Atomics.load(over, 0) === 0 && this.#points < pointsMax) {
      if (performance.now() - began > secondsMax * 1000) return null;
      const execution = execute(this.#world, strategy, this.#executions);
      if (execution === null) return null;
      this.#executions++;
      this.#points += execution.points;
      for (const failure of execution.failures) {
        if (this.#counts(failure)) return failure;
        this.#others.add(`${failure.check}: ${failure.message}`);
      }
    }
    return null;
  }

  #counts({ check }: Failure): boolean {
    const oracle = oracleOf(check);
    return oracle !== undefined && this.#mutant.oracles.includes(oracle);
  }

  /** The switches that the failure at hand needs. */
  #minimise(key: string): number | null {
    const chosen = SCHEDULER.chosen.slice(0, SCHEDULER.points + 1);
    const failing = record(this.#world, new RepeatingStrategy(chosen), 0);
    if (failing === null || !failing.failures.some((each) => keyOfFailure(each) === key)) return null;
    let points = 0;
    const minimised = minimise(this.#world, failing, key, {
      replaysMax: MINIMISE_REPLAYS_MAX,
      isOver: () => (points += SCHEDULER.points) > MINIMISE_POINTS_MAX,
    });
    return minimised.after.switches;
  }
}

function runClean(loaded: LoadedTarget, task: MutantTask, searches: readonly SearchOutcome[]): CleanOutcome {
  const { mutate: _, mutateToolstack: __, ...setup } = loaded.setup;
  const world = new ScenarioWorld({ ...setup, checks: (each) => makeChecks(each) });
  const needed = searches
    .filter(({ strategy, check }) => strategy === task.strategies[0] && check !== null)
    .map((each) => each.points)
    .toSorted((a, b) => a - b);
  const wanted = Math.max(CLEAN_TIMES * (needed[needed.length >>> 1] ?? 0), CLEAN_POINTS_LEAST);
  const violations = new Set<string>();
  let executions = 0;
  let points = 0;
  const [seed = 1] = task.seeds;
  const strategy = createStrategy(task.strategies[0] ?? "portfolio", { seed });
  while (points < wanted && Atomics.load(task.over, 0) === 0) {
    const execution = execute(world, strategy, executions);
    if (execution === null) break;
    executions++;
    points += execution.points;
    for (const { check, message } of execution.failures) violations.add(`${check}: ${message}`);
  }
  return { executions, points, violations: [...violations].slice(0, OTHERS_KEPT) };
}
