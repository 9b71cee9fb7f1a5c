/** What a worker of an exploration does: executions until their bound, and the study of those that failed. */
import { RefusedError } from "../coroutine/hook.ts";
import { UsageError } from "../errors.ts";
import { TOO_DEEP, execute, keyOfFailure, record } from "./execution.ts";
import type { Execution } from "./execution.ts";
import { RepeatingStrategy } from "./directives.ts";
import type { LoadedWorld } from "./load-world.ts";
import { Pulse, withPulse } from "./pulse.ts";
import { Ending, SCHEDULER } from "./scheduler.ts";
import { createStrategy } from "./strategies/catalogue.ts";
import type { StrategyName } from "./strategies/catalogue.ts";
import type { Search } from "./strategy.ts";
import { studyFailure } from "./failures/study-failure.ts";
import type { StudiedFailure } from "./failures/study-failure.ts";
import type { ExploreTarget } from "./target.ts";
import { TraceHash } from "./trace-hash.ts";
import { watched } from "./world.ts";
import type { World } from "./world.ts";

/** Cells that the workers and the main thread share. */
export const ExploreCell = {
  /** The next execution that nobody has begun. */
  next: 0,
  /** No execution above this one need be made. */
  last: 1,
  /** 1 when everybody shall end. */
  over: 2,
  /** Executions made. */
  executions: 3,
  /** Workers that have loaded what they explore. */
  ready: 4,
} as const;

/** Executions to make. Plain data. */
export interface ExploreTask {
  readonly kind: "explore";
  readonly target: ExploreTarget;
  readonly strategy: StrategyName;
  readonly seed: number;
  readonly keepsGoing: boolean;
  /** Number of the worker: the first also does what needs doing only once. */
  readonly worker: number;
  readonly cells: Int32Array;
  /** Of all workers, by number. */
  readonly pulses: Int32Array;
}

/** A failure to study. Plain data. */
export interface StudyTask {
  readonly kind: "study";
  readonly target: ExploreTarget;
  readonly key: string;
  readonly iteration: number;
  /** The thread chosen at each point. */
  readonly chosen: Uint8Array;
  readonly pulses: Int32Array;
}

/** A failing execution, as it can be repeated. */
export interface FailingExecution {
  readonly key: string;
  readonly iteration: number;
  /** Executions of this worker that failed so. */
  times: number;
  readonly chosen: Uint8Array;
}

/** What a worker did. Plain data. */
export interface ExploreReport {
  readonly codeHash: string;
  /** Time from the first execution to the last. */
  readonly seconds: number;
  readonly executions: number;
  readonly failing: number;
  readonly points: number;
  readonly steps: number;
  readonly stepsMin: number;
  readonly stepsMax: number;
  readonly capped: number;
  /** Hashes of traces with the execution that each was seen in. */
  readonly traces: readonly (readonly [iteration: number, hash: number])[];
  readonly failures: readonly FailingExecution[];
  readonly completed: string | null;
  readonly remaining: number | null;
  readonly repeated: number;
  readonly nondeterminism: string | null;
}

/** One execution in so many is repeated, and one in so many has its trace hashed. */
const REPEAT_ONE_IN = 100;
const HASH_ONE_IN = 16;
const TRACES_MAX = 200_000;

const THOROUGH_FIRST = 16;
const THOROUGH_ONE_IN = 16;

/** What one execution shows of a program that nobody runs beside: nothing is left to choose. */
const ONE_SCHEDULE = "one thread: there is just one schedule, which was repeated once";

/** Whether an execution is looked at as a whole when it is over: the first ones are, and then one in so many. */
export function isThorough(iteration: number): boolean {
  return iteration < THOROUGH_FIRST || iteration % THOROUGH_ONE_IN === 0;
}

let loaded: { readonly of: string; readonly world: Promise<LoadedWorld> } | undefined;

/** The world of a target: a thread loads one, once. */
function worldOf(target: ExploreTarget): Promise<LoadedWorld> {
  const of = JSON.stringify(target);
  loaded ??= { of, world: load(target) };
  if (loaded.of !== of) throw new Error("a thread explores one target");
  return loaded.world;
}

/** The model is loaded where it is explored: a user's program does without it. */
async function load(target: ExploreTarget): Promise<LoadedWorld> {
  const { loadWorld } = await import("./load-world.ts");
  return loadWorld(target);
}

/** Why a target cannot be explored, for the person who asked. Errors lose their class between threads. */
export interface Refused {
  readonly refused: string;
}

/** Does what a task says. */
export async function runExplorer(
  task: ExploreTask | StudyTask,
): Promise<ExploreReport | StudiedFailure | Refused> {
  let loadedWorld: LoadedWorld;
  try {
    loadedWorld = await worldOf(task.target);
  } catch (error) {
    if (error instanceof RefusedError || error instanceof UsageError) return { refused: error.message };
    throw error;
  }
  const { world, codeHash } = loadedWorld;
  if (task.kind === "study")
    return withPulse(
      new Pulse(task.pulses, 0),
      () => studyFailure(world, task.chosen, task.key),
      task.iteration,
    );
  const { strategy: name, seed, worker } = task;
  const strategy = createStrategy(name, { seed, onlySampling: worker > 0 });
  return exploreWorld(world, { ...task, strategy }, codeHash);
}

/** Executes a world as a task says, on this thread. */
export function exploreWorld(world: World, task: WorldTask, codeHash: string): ExploreReport {
  const pulse = new Pulse(task.pulses, task.worker);
  return withPulse(pulse, () => new Exploration(world, task, pulse).run(codeHash));
}

/** A task of which the world and the strategy are made already. */
export interface WorldTask extends Pick<ExploreTask, "keepsGoing" | "cells" | "worker" | "pulses"> {
  readonly strategy: Search;
}

class Exploration {
  readonly #world: World;
  readonly #task: WorldTask;
  readonly #pulse: Pulse;
  readonly #failures = new Map<string, FailingExecution>();
  readonly #traces: (readonly [number, number])[] = [];
  readonly #hash = new TraceHash();
  #executions = 0;
  #failing = 0;
  #points = 0;
  #steps = 0;
  #stepsMin = Infinity;
  #stepsMax = 0;
  #capped = 0;
  #repeated = 0;
  #nondeterminism: string | null = null;
  #completed: string | null = null;

  constructor(world: World, task: WorldTask, pulse: Pulse) {
    this.#world = world;
    this.#task = task;
    this.#pulse = pulse;
  }

  run(codeHash: string): ExploreReport {
    const { strategy, cells } = this.#task;
    const hashed = watched(this.#world, this.#hash);
    Atomics.add(cells, ExploreCell.ready, 1);
    const began = performance.now();
    while (Atomics.load(cells, ExploreCell.over) === 0) {
      const iteration = Atomics.add(cells, ExploreCell.next, 1);
      if (iteration > Atomics.load(cells, ExploreCell.last)) break;
      const isHashed = iteration % HASH_ONE_IN === 0 && this.#traces.length < TRACES_MAX;
      const world = isHashed ? hashed : this.#world;
      this.#pulse.begin(iteration);
      const execution = execute(world, strategy, iteration, isThorough(iteration));
      if (execution === null) {
        Atomics.store(cells, ExploreCell.over, 1);
        break;
      }
      if (isHashed) this.#traces.push([iteration, this.#hash.value]);
      const isAlone = SCHEDULER.threads === 1;
      this.#note(execution, iteration, isAlone);
      Atomics.add(cells, ExploreCell.executions, 1);
      if (isAlone) {
        this.#completed = ONE_SCHEDULE;
        break;
      }
    }
    return {
      codeHash,
      seconds: (performance.now() - began) / 1000,
      executions: this.#executions,
      failing: this.#failing,
      points: this.#points,
      steps: this.#steps,
      stepsMin: this.#stepsMin,
      stepsMax: this.#stepsMax,
      capped: this.#capped,
      traces: this.#traces,
      failures: [...this.#failures.values()],
      completed: strategy.completed?.() ?? this.#completed,
      remaining: strategy.remaining?.() ?? null,
      repeated: this.#repeated,
      nondeterminism: this.#nondeterminism,
    };
  }

  #note({ ending, points, steps, failures }: Execution, iteration: number, isAlone: boolean): void {
    this.#executions++;
    this.#points += points;
    this.#steps += steps;
    this.#stepsMin = Math.min(this.#stepsMin, steps);
    this.#stepsMax = Math.max(this.#stepsMax, steps);
    if (ending === Ending.capped) this.#capped++;
    const keys = [...new Set(failures.map((each) => keyOfFailure(each)))];
    if (keys.length > 0) this.#failing++;
    const isRepeated =
      keys.length > 0 ? !this.#failures.has(keys[0] ?? "") : isAlone || iteration % REPEAT_ONE_IN === 0;
    const chosen = isRepeated ? SCHEDULER.chosen.slice(0, points + 1) : new Uint8Array(0);
    if (isRepeated) this.#repeat(chosen, iteration, keys);
    // What an execution shows first is its bug; the rest is often the same one seen from elsewhere.
    const [first] = keys;
    if (first !== undefined) this.#fail(first, iteration, chosen);
  }

  #fail(key: string, iteration: number, chosen: Uint8Array): void {
    const known = this.#failures.get(key);
    if (known === undefined) this.#failures.set(key, { key, iteration, times: 1, chosen });
    else known.times++;
    if (this.#task.keepsGoing) return;
    const { cells } = this.#task;
    let last = Atomics.load(cells, ExploreCell.last);
    while (iteration < last) last = Atomics.compareExchange(cells, ExploreCell.last, last, iteration);
  }

  /** The same choices must give the same execution, or something decides that the scheduler does not know of. */
  #repeat(chosen: Uint8Array, iteration: number, keys: readonly string[]): void {
    const { steps } = SCHEDULER;
    const fingerprint = SCHEDULER.fingerprint();
    this.#repeated++;
    const strategy = new RepeatingStrategy(chosen);
    const again = record(this.#world, strategy, 0, isThorough(iteration));
    const sameKeys = keys.join() === [...new Set(again?.failures.map((each) => keyOfFailure(each)))].join();
    const isSame = SCHEDULER.steps === steps && SCHEDULER.fingerprint() === fingerprint && sameKeys;
    this.#lookForLeaks(iteration);
    if (sameKeys && keys[0] === TOO_DEEP) return;
    if (isSame && strategy.divergedAt === null) return;
    const where = strategy.divergedAt === null ? "" : ` from point ${String(strategy.divergedAt)} on`;
    this.#nondeterminism ??= `execution ${String(iteration)} went another way when it was repeated${where}`;
  }

  /** The next execution must find what the first one found. */
  #lookForLeaks(iteration: number): void {
    SCHEDULER.restore();
    const cell = SCHEDULER.leak();
    if (cell < 0) return;
    const name = this.#world.cellName(cell);
    this.#nondeterminism ??= `execution ${String(iteration)} left ${name} other than it was in the beginning`;
  }
}
