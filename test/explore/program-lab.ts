/** Executes the programs of `programs/` under strategies. Runs on a thread of its own: the hook does not see vitest's modules. */
import { readdirSync } from "node:fs";
import { registerCoroutines } from "../../src/engines/coroutine/hook.ts";
import { ProgramWorld, asCoroutine } from "../../src/engines/explore/program-world.ts";
import { Ending, SCHEDULER } from "../../src/engines/explore/scheduler.ts";
import { BoundedSearch } from "../../src/engines/explore/strategies/bounded-search.ts";
import { createStrategy } from "../../src/engines/explore/strategies/catalogue.ts";
import { countOf } from "../../src/engines/explore/strategies/thread-set.ts";
import type { StrategyName, StrategyOptions } from "../../src/engines/explore/strategies/catalogue.ts";
import type { Learnt, Search, Strategy } from "../../src/engines/explore/strategy.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import type * as Model from "../../src/engines/coroutine/model.ts";
import { PaperPct } from "./paper-pct.ts";
import { TraceHash } from "../../src/engines/explore/trace-hash.ts";
import { TraceForm } from "./trace-form.ts";
import type { PROGRAM } from "./programs/generated.ts";

type Main = (world: ProgramWorld) => void;

/** What is executed, and until when. */
export interface Experiment {
  readonly program: string;
  /** Instructions of `generated`. */
  readonly instructions?: typeof PROGRAM;
  /** `paper-pct` is the algorithm as it was published, of the given depth. */
  readonly strategy: StrategyName | "paper-pct";
  readonly options: StrategyOptions;
  readonly executionsMax: number;
  readonly pointsMax?: number;
  /** Whether the first failing execution is the last. */
  readonly untilFailure?: boolean;
  /** Whether a failed assertion ends its execution at once. */
  readonly isFatal?: boolean;
  /** Whether traces are told apart; slow. */
  readonly withForms?: boolean;
  /** Number of the first execution. */
  readonly from?: number;
  readonly adopted?: Learnt;
}

/** What came of it. */
export interface Observed {
  readonly executions: number;
  /** Executions without those that were given up. */
  readonly whole: number;
  readonly failing: number;
  /** Number of the first failing execution, from 1, and the same without those given up; 0 when none failed. */
  readonly first: number;
  readonly firstWhole: number;
  readonly capped: number;
  readonly deadlocks: number;
  /** Of a bounded search: schedules, each counted once, and the bound at the end. */
  readonly schedules: number;
  readonly bound: number;
  readonly forms: readonly string[];
  /** Different values of `TraceHash`. */
  readonly hashes: number;
  /** How executions ended, and what the first cells held then. */
  readonly outcomes: readonly string[];
  /** Threads in the order in which they ran, of each execution. */
  readonly schedulesSeen: Readonly<Record<string, number>>;
  readonly completed: string | null;
  readonly remaining: number | null;
  readonly learnt: Learnt;
  readonly isExhausted: boolean;
}

const OUTCOME_CELLS = 8;
const FOLDER = new URL("programs/", import.meta.url);
const MODEL = new URL("../../src/engines/coroutine/model.ts", import.meta.url).href;

const urls = readdirSync(FOLDER).map((file) => new URL(file, FOLDER).href);
const coroutines = registerCoroutines([...urls, MODEL]);
const modules = await Promise.all(urls.map(async (url) => (await import(coroutines.address(url))) as object));
const programs = new Map(modules.flatMap((module) => Object.entries(module))) as Map<string, unknown>;
const model = (await import(coroutines.address(MODEL))) as typeof Model;
const memory = model.SharedMemory.attach(SharedMemory.create(ProgramWorld.cells).handle);
SCHEDULER.adopt(memory.view);

class FatalWorld extends ProgramWorld {
  override check(holds: boolean, message: string): void {
    super.check(holds, message);
    if (!holds) SCHEDULER.stop();
  }
}

/** Passes a strategy's choices on, and writes them down. */
class Listening implements Strategy {
  readonly name = "listening";
  readonly #strategy: Strategy;
  #ran: number[] = [];
  /** What the probability of the execution is under a random walk. */
  probability = 1;

  constructor(strategy: Strategy) {
    this.#strategy = strategy;
  }

  get schedule(): string {
    return this.#ran.join(" ");
  }

  begin(scheduler: typeof SCHEDULER, iteration: number): boolean {
    this.#ran = [];
    this.probability = 1;
    return this.#strategy.begin(scheduler, iteration);
  }

  choose(scheduler: typeof SCHEDULER, enabled: number): number {
    this.probability /= countOf(enabled);
    return this.#strategy.choose(scheduler, enabled);
  }

  committed(scheduler: typeof SCHEDULER, thread: number): void {
    this.#ran.push(thread);
    this.#strategy.committed(scheduler, thread);
  }

  spawned(scheduler: typeof SCHEDULER, thread: number): void {
    this.#strategy.spawned(scheduler, thread);
  }

  end(scheduler: typeof SCHEDULER, ending: number): void {
    this.#strategy.end(scheduler, ending);
  }
}

function mainOf({ program, instructions }: Pick<Experiment, "program" | "instructions">): Main {
  if (instructions !== undefined) Object.assign(programs.get("PROGRAM") as typeof PROGRAM, instructions);
  const main = programs.get(program);
  if (typeof main !== "function") throw new RangeError(`there is no program ${program}`);
  return main as Main;
}

function strategyFor({ strategy, options }: Experiment): Search {
  if (strategy === "paper-pct") return new PaperPct(options.seed, options.depth ?? 1);
  return createStrategy(strategy, options);
}

/** One execution; null when the strategy has none left. Memory is restored afterwards. */
function execute<Result>(
  main: Main,
  { strategy, iteration, isFatal }: { strategy: Strategy; iteration: number; isFatal: boolean },
  look: (ending: number, world: ProgramWorld) => Result,
): Result | null {
  SCHEDULER.use(strategy);
  if (!strategy.begin(SCHEDULER, iteration)) return null;
  SCHEDULER.begin();
  const world = isFatal ? new FatalWorld(memory) : new ProgramWorld(memory);
  SCHEDULER.add(asCoroutine(main(world)));
  const ending = SCHEDULER.run();
  strategy.end(SCHEDULER, ending);
  const result = look(ending, world);
  SCHEDULER.restore();
  return result;
}

/** Tells executions apart. */
class Sightings {
  readonly form = new TraceForm();
  readonly hash = new TraceHash();
  readonly forms = new Set<string>();
  readonly hashes = new Set<number>();
  readonly outcomes = new Set<string>();
  readonly schedules: Record<string, number> = {};

  begin(): void {
    this.form.begin();
    this.hash.begin();
  }

  beforeStep(scheduler: typeof SCHEDULER, thread: number): void {
    this.form.beforeStep(scheduler, thread);
    this.hash.beforeStep(scheduler, thread);
  }

  afterStep(scheduler: typeof SCHEDULER, thread: number): void {
    this.form.afterStep(scheduler, thread);
    this.hash.afterStep(scheduler);
  }

  note(ending: number, schedule: string): void {
    this.forms.add(this.form.form);
    this.hashes.add(this.hash.value);
    this.outcomes.add(`${String(ending)}: ${memory.view.subarray(0, OUTCOME_CELLS).join(" ")}`);
    this.schedules[schedule] = (this.schedules[schedule] ?? 0) + 1;
  }
}

/** Counts executions by how they ended. */
class Tally {
  executions = 0;
  whole = 0;
  failing = 0;
  first = 0;
  firstWhole = 0;
  capped = 0;
  deadlocks = 0;

  /** Whether the execution failed. */
  note(ending: number, world: ProgramWorld): boolean {
    this.executions++;
    if (ending === Ending.abandoned) return false;
    this.whole++;
    if (ending === Ending.capped) this.capped++;
    if (ending === Ending.deadlock) this.deadlocks++;
    if (ending !== Ending.deadlock && world.failures.length === 0) return false;
    this.failing++;
    if (this.first === 0) {
      this.first = this.executions;
      this.firstWhole = this.whole;
    }
    return true;
  }
}

/** Makes executions until there are no more, or enough. */
function observe(experiment: Experiment): Observed {
  const main = mainOf(experiment);
  const search = strategyFor(experiment);
  if (experiment.adopted !== undefined) search.adopt(experiment.adopted);
  const listening = new Listening(search);
  const sightings = experiment.withForms === true ? new Sightings() : null;
  const strategy = sightings === null ? search : listening;
  const isFatal = experiment.isFatal === true;
  const tally = new Tally();
  SCHEDULER.observer = sightings;
  SCHEDULER.pointsMax = experiment.pointsMax ?? 1e5;
  let isFailure: boolean | null = false;
  while (isFailure !== null && tally.executions < experiment.executionsMax) {
    sightings?.begin();
    const iteration = (experiment.from ?? 0) + tally.executions;
    isFailure = execute(main, { strategy, iteration, isFatal }, (ending, world) => {
      if (ending !== Ending.abandoned) sightings?.note(ending, listening.schedule);
      return tally.note(ending, world);
    });
    if (isFailure === true && experiment.untilFailure === true) break;
  }
  SCHEDULER.observer = null;
  const { executions, whole, failing, first, firstWhole, capped, deadlocks } = tally;
  return {
    executions,
    whole,
    failing,
    first,
    firstWhole,
    capped,
    deadlocks,
    schedules: search instanceof BoundedSearch ? search.schedules : 0,
    bound: search instanceof BoundedSearch ? search.bound : 0,
    forms: [...(sightings?.forms ?? [])],
    hashes: sightings?.hashes.size ?? 0,
    outcomes: [...(sightings?.outcomes ?? [])],
    schedulesSeen: sightings?.schedules ?? {},
    completed: search.completed(),
    remaining: search.remaining(),
    learnt: search.learnt(),
    isExhausted: isFailure === null,
  };
}

/** Number of the first failing execution in each of several trials; those that found nothing are left out. */
function firstFailures(experiment: Experiment & { readonly trials: number }): number[] {
  const first: number[] = [];
  for (let trial = 0; trial < experiment.trials; trial++) {
    const options = { ...experiment.options, seed: experiment.options.seed + trial * 7919 };
    const observed = observe({ ...experiment, options, untilFailure: true });
    if (observed.first > 0) first.push(observed.first);
  }
  return first;
}

/** How likely a random walk is to fail, from the whole tree of choices: the sum over its failing leaves. */
function failureProbability({ program }: { readonly program: string }): {
  failing: number;
  all: number;
} {
  const main = mainOf({ program });
  const strategy = new Listening(createStrategy("dfs", { seed: 0 }));
  const sum = { failing: 0, all: 0 };
  for (let iteration = 0; ; iteration++) {
    const isFailure = execute(
      main,
      { strategy, iteration, isFatal: false },
      (ending, world) => ending === Ending.deadlock || world.failures.length > 0,
    );
    if (isFailure === null) return sum;
    sum.all += strategy.probability;
    if (isFailure) sum.failing += strategy.probability;
  }
}

/** What a test can ask for, by name. */
export const LAB = { observe, firstFailures, failureProbability };
