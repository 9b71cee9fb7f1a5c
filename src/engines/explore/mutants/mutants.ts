/** `umbra mutants`: every known bug searched for, on all cores, one thread a mutant. */
import { availableParallelism } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { MutantRow, MutantsResult, StrategyRow } from "../../../report/types.ts";
import { UsageError } from "../../errors.ts";
import { allowedNames, decimalNumber, firstLine, wholeNumber } from "../../usage.ts";
import { planExplore } from "../explore-plan.ts";
import { granularityName } from "../../machine-settings.ts";
import type { Granularity } from "../../../hypervisor/machine-config.ts";
import { importMutant } from "../load-world.ts";
import { mutantNames, mutantUrl } from "./mutant-files.ts";
import type { MutantReport, MutantTask, SearchOutcome } from "./mutant-search.ts";
import { oracleOf } from "../oracles.ts";
import type { StrategyName } from "../strategies/catalogue.ts";

/** The run as people ask for it: texts of the command line. */
export interface MutantsRequest {
  /** Ids, `M01`; all when empty. */
  readonly ids?: readonly string[] | undefined;
  readonly seeds?: string | undefined;
  /** Bound of one search. */
  readonly seconds?: string | undefined;
  readonly workers?: string | undefined;
  /** Of the shadow lock: `page` on machines that do not say otherwise. */
  readonly granularity?: string | undefined;
  /** Every strategy, not the portfolio alone. */
  readonly full?: boolean | undefined;
}

/** A run with nothing left open. */
export interface MutantsPlan {
  readonly names: readonly string[];
  readonly strategies: readonly StrategyName[];
  readonly seeds: readonly number[];
  readonly seconds: number;
  /** Points of one search at most: a bound for tests, the same on every computer. No bound for people. */
  readonly points: number;
  readonly workers: number;
  readonly granularity: Granularity;
  readonly command: string;
}

/** What the run may be told and asked while it goes on. */
export interface MutantsHooks {
  readonly interruption?: AbortSignal;
  readonly onProgress?: (fraction: number, note: string) => void;
}

const PORTFOLIO: StrategyName = "portfolio";
const OTHER_STRATEGIES: readonly StrategyName[] = ["random", "pct", "pos", "urw", "ipb", "idb", "dpor"];
const DEFAULT_SEEDS = 10;
const DEFAULT_SECONDS = 60;
const SEEDS = { min: 1, max: 1000 };
const SECONDS = { min: 0.1, max: 24 * 3600 };
const WORKER = fileURLToPath(new URL("../../../../workers/mutant-worker.ts", import.meta.url));
const TICK_MS = 50;

/** Plans what is asked for. Throws UsageError for everything that cannot be. */
export function planMutants(request: MutantsRequest): MutantsPlan {
  const { ids = [], full = false, seeds, seconds, workers } = request;
  const granularity = granularityName(request.granularity ?? "domain");
  const count = seeds === undefined ? DEFAULT_SEEDS : wholeNumber("--seeds", seeds, SEEDS);
  const words = ["umbra", "mutants", ...ids, "--seeds", String(count)];
  if (seconds !== undefined) words.push("--seconds", seconds);
  if (full) words.push("--full");
  if (granularity !== "domain") words.push("--granularity", granularity);
  return {
    names: ids.length === 0 ? mutantNames() : ids.map((id) => nameOf(id)),
    strategies: full ? [PORTFOLIO, ...OTHER_STRATEGIES] : [PORTFOLIO],
    seeds: Array.from({ length: count }, (_, index) => index + 1),
    seconds: seconds === undefined ? DEFAULT_SECONDS : decimalNumber("--seconds", seconds, SECONDS),
    points: Infinity,
    workers:
      workers === undefined
        ? availableParallelism()
        : wholeNumber("--workers", workers, { min: 1, max: 256 }),
    granularity,
    command: words.join(" "),
  };
}

function nameOf(id: string): string {
  const names = mutantNames();
  const wanted = id.toLowerCase();
  const found = names.find((name) => name === wanted || name.split("-")[0] === wanted);
  if (found === undefined) throw new UsageError(`a mutant is ${allowedNames(names)}, not "${id}"`);
  return found;
}

/** Searches for every mutant. */
export async function runMutants(plan: MutantsPlan, hooks: MutantsHooks = {}): Promise<MutantsResult> {
  const began = performance.now();
  const run = new MutantsRun(plan, hooks);
  const rows = await run.run();
  if (rows.length === 0 && run.leftOut.length > 0)
    throw new UsageError(
      `--granularity page: ${run.leftOut.join(", ")} is of a machine that keeps one lock, or no bug then: nothing is left to search for`,
    );
  return {
    kind: "mutants",
    command: plan.command,
    outcome: run.outcome,
    reason: run.reason,
    signal: run.outcome === "interrupted" ? String(hooks.interruption?.reason) : null,
    seeds: plan.seeds.length,
    secondsEach: plan.seconds,
    workers: plan.workers,
    seconds: (performance.now() - began) / 1000,
    granularity: plan.granularity,
    leftOut: run.leftOut.toSorted(),
    mutants: rows,
    cleanViolations: rows.reduce((sum, row) => sum + row.cleanFindings.length, 0),
  };
}

class MutantsRun {
  outcome: MutantsResult["outcome"] = "completed";
  reason: string | null = null;
  readonly leftOut: string[] = [];
  readonly #plan: MutantsPlan;
  readonly #hooks: MutantsHooks;
  readonly #over = new Int32Array(new SharedArrayBuffer(4));
  readonly #reports = new Map<string, MutantReport>();

  constructor(plan: MutantsPlan, hooks: MutantsHooks) {
    this.#plan = plan;
    this.#hooks = hooks;
  }

  async run(): Promise<MutantRow[]> {
    const { names, workers } = this.#plan;
    const left = [...names];
    const state = { running: true };
    const threads = Array.from({ length: Math.min(workers, names.length) }, () => this.#work(left));
    const all = Promise.all(threads).finally(() => {
      state.running = false;
    });
    while (state.running) {
      // oxlint-disable-next-line no-await-in-loop -- looks whether it is over
      await Promise.race([pause(TICK_MS), all]);
      this.#look();
    }
    await all;
    return names.flatMap((name) => {
      const report = this.#reports.get(name);
      return report === undefined ? [] : [rowOf(report)];
    });
  }

  /** One mutant after another, each on a thread of its own: a thread loads one. */
  async #work(left: string[]): Promise<void> {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      if (this.outcome !== "completed") return;
      try {
        // oxlint-disable-next-line no-await-in-loop -- as many at once as there are cores
        const report = await this.#search(name);
        if (report !== null) this.#reports.set(name, report);
      } catch (error) {
        this.#end("worker-died", `${name}: ${firstLine(error)}`);
      }
    }
  }

  /** Null for one that the granularity leaves out. */
  async #search(name: string): Promise<MutantReport | null> {
    const { strategies, seeds, seconds, points, granularity } = this.#plan;
    const { id, machine, isHarmlessPerPage = false } = await importMutant(mutantUrl(name));
    const isOutOfSync = machine?.switches?.["out-of-sync"] === true;
    if (granularity === "page" && (isOutOfSync || isHarmlessPerPage)) {
      this.leftOut.push(id);
      return null;
    }
    const set = [`granularity=${granularity}`];
    const { target } = await planExplore({ scenario: name, mutant: name, seed: "1", set });
    const pool = new Piscina<MutantTask, MutantReport>({
      filename: WORKER,
      minThreads: 1,
      maxThreads: 1,
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    pool.on("error", () => undefined);
    try {
      return await pool.run({
        target,
        strategies,
        seeds,
        secondsMax: seconds,
        pointsMax: points,
        over: this.#over,
      });
    } finally {
      await pool.destroy();
    }
  }

  #look(): void {
    const { interruption, onProgress } = this.#hooks;
    if (interruption?.aborted === true) this.#end("interrupted", `by ${String(interruption.reason)}`);
    const done = this.#reports.size + this.leftOut.length;
    const all = this.#plan.names.length;
    onProgress?.(done / all, `${String(done)} of ${String(all)} mutants`);
  }

  #end(outcome: MutantsResult["outcome"], reason: string): void {
    Atomics.store(this.#over, 0, 1);
    if (this.outcome !== "completed") return;
    this.outcome = outcome;
    this.reason = reason;
  }
}

function rowOf({ id, title, oracles, searches, clean }: MutantReport): MutantRow {
  const own = searches.filter(({ strategy }) => strategy === PORTFOLIO);
  const found = own.filter(({ check }) => check !== null);
  const finding = mostOften(found.flatMap(({ check }) => check ?? []));
  const others = OTHER_STRATEGIES.filter((name) => searches.some(({ strategy }) => strategy === name));
  return {
    id,
    title,
    oracles,
    seedsFound: found.length,
    seeds: own.length,
    check: finding === null ? null : (oracleOf(finding) ?? null),
    finding,
    medianSchedules: median(found.map(({ executions }) => executions)),
    medianPoints: median(found.map(({ points }) => points)),
    medianSeconds: median(found.map(({ seconds }) => seconds)),
    minimisedSwitches: own.find(({ switches }) => switches !== null)?.switches ?? null,
    others: [...new Set(own.flatMap((each) => each.others))],
    cleanExecutions: clean.executions,
    cleanPoints: clean.points,
    cleanFindings: clean.violations,
    strategies: others.map((name) =>
      strategyRow(
        name,
        searches.filter(({ strategy }) => strategy === name),
      ),
    ),
  };
}

function strategyRow(strategy: string, searches: readonly SearchOutcome[]): StrategyRow {
  const found = searches.filter(({ check }) => check !== null);
  return {
    strategy,
    seedsFound: found.length,
    seeds: searches.length,
    medianPoints: median(found.map(({ points }) => points)),
    medianSeconds: median(found.map(({ seconds }) => seconds)),
  };
}

function mostOften(names: readonly string[]): string | null {
  const times = new Map<string, number>();
  for (const name of names) times.set(name, (times.get(name) ?? 0) + 1);
  return [...times].toSorted(([, a], [, b]) => b - a)[0]?.[0] ?? null;
}

/** The middle one; of an even number the mean of the two in the middle. */
function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >>> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}
