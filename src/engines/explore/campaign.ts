/** An exploration on all cores: workers execute, the main thread adds up, and has the failures studied. */
/* oxlint-disable no-await-in-loop -- failures are studied one after another */
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { ExploreFailure, ExploreOutcome, ExploreResult } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
import { firstLine } from "../usage.ts";
import type { ExplorePlan } from "./explore-plan.ts";
import { ExploreCell } from "./explorer.ts";
import type { ExploreReport, ExploreTask, FailingExecution, Refused, StudyTask } from "./explorer.ts";
import { NO_FILES, writeFailureFiles } from "./failures/failure-files.ts";
import type { StudiedFailure } from "./failures/study-failure.ts";
import { writeToken } from "./failures/token.ts";
import { Watchdog, hungText, pulsesOf } from "./pulse.ts";
import { wilsonInterval } from "./wilson.ts";

/** What an exploration may be told and asked while it runs. */
export interface ExploreHooks {
  readonly interruption?: AbortSignal;
  /** Told now and then what part is over, 0 to 1, and what is worth knowing. */
  readonly onProgress?: (fraction: number, note: string) => void;
}

const WORKER = fileURLToPath(new URL("../../../workers/explore-worker.ts", import.meta.url));
const TICK_MS = 50;

type Answer = ExploreReport | StudiedFailure | Refused;
type Pool = Piscina<ExploreTask | StudyTask, Answer>;

/** How a task is ended from outside. */
function signalOf(ending: AbortController | undefined): { readonly signal?: AbortSignal } {
  return ending === undefined ? {} : { signal: ending.signal };
}

/** Explores what is planned. */
export async function runExplore(plan: ExplorePlan, hooks: ExploreHooks = {}): Promise<ExploreResult> {
  const pool: Pool = new Piscina({
    filename: WORKER,
    minThreads: plan.workers,
    maxThreads: plan.workers,
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  // A thread that is lost has a task that says so.
  pool.on("error", () => undefined);
  try {
    return await new Campaign(plan, hooks, pool).run();
  } finally {
    await pool.destroy();
  }
}

class Campaign {
  readonly #plan: ExplorePlan;
  readonly #hooks: ExploreHooks;
  readonly #pool: Pool;
  readonly #cells = new Int32Array(new SharedArrayBuffer(32));
  readonly #pulses: Int32Array;
  readonly #watchdog: Watchdog;
  /** Ends one worker each: one that hangs hears nothing else. */
  readonly #endings: readonly AbortController[];
  #began = performance.now();
  #outcome: ExploreOutcome = "completed";
  #reason: string | null = null;

  constructor(plan: ExplorePlan, hooks: ExploreHooks, pool: Pool) {
    this.#plan = plan;
    this.#hooks = hooks;
    this.#pool = pool;
    this.#pulses = pulsesOf(plan.workers);
    this.#watchdog = new Watchdog(this.#pulses, plan.patience);
    this.#endings = Array.from({ length: plan.workers }, () => new AbortController());
  }

  async run(): Promise<ExploreResult> {
    const { schedules } = this.#plan;
    Atomics.store(this.#cells, ExploreCell.last, schedules === null ? 2 ** 31 - 1 : schedules - 1);
    const reports = await this.#explore();
    const seconds = reports.reduce((most, report) => Math.max(most, report.seconds), 0);
    const failures = await this.#studyAll(reports);
    return this.#result(reports, failures, seconds);
  }

  async #explore(): Promise<ExploreReport[]> {
    const { target, strategy, seed, keepsGoing, workers } = this.#plan;
    const state = { running: workers };
    const runs = Array.from({ length: workers }, async (_, worker) => {
      const shared = { cells: this.#cells, pulses: this.#pulses };
      const task: ExploreTask = { kind: "explore", target, strategy, seed, keepsGoing, worker, ...shared };
      try {
        return await this.#pool.run(task, signalOf(this.#endings[worker]));
      } catch (error) {
        this.#end("worker-died", `a worker died: ${firstLine(error)}`);
        return null;
      } finally {
        state.running--;
      }
    });
    const settled = Promise.allSettled(runs);
    while (state.running > 0) {
      await Promise.race([pause(TICK_MS), settled]);
      this.#look();
    }
    const ended = await settled;
    const values = ended.flatMap((each) =>
      each.status === "fulfilled" && each.value !== null ? [each.value] : [],
    );
    const refused = values.find((each) => "refused" in each);
    if (refused !== undefined) throw new UsageError(refused.refused);
    return values.filter((each) => "executions" in each);
  }

  #look(): void {
    // Loading is not exploring.
    if (Atomics.load(this.#cells, ExploreCell.ready) === 0) this.#began = performance.now();
    const { seconds, schedules } = this.#plan;
    const { interruption, onProgress } = this.#hooks;
    const elapsed = (performance.now() - this.#began) / 1000;
    const executions = Atomics.load(this.#cells, ExploreCell.executions);
    if (interruption?.aborted === true) this.#end("interrupted", `by ${String(interruption.reason)}`);
    if (seconds !== null && elapsed > seconds) Atomics.store(this.#cells, ExploreCell.over, 1);
    const fraction = seconds === null ? executions / (schedules ?? 1) : elapsed / seconds;
    onProgress?.(fraction, `${String(executions)} executions`);
    this.#endHung(this.#endings);
  }

  #endHung(endings: readonly AbortController[]): void {
    for (const hung of this.#watchdog.look(performance.now())) {
      this.#end("stuck", hungText(hung, this.#plan.seed, this.#plan.patience));
      endings[hung.thread]?.abort();
    }
  }

  #end(outcome: ExploreOutcome, reason: string): void {
    Atomics.store(this.#cells, ExploreCell.over, 1);
    if (this.#outcome !== "completed") return;
    this.#outcome = outcome;
    this.#reason = reason;
  }

  /** Each bug once: the first execution that showed it, whichever worker made it. */
  async #studyAll(reports: readonly ExploreReport[]): Promise<ExploreFailure[]> {
    const first = new Map<string, FailingExecution>();
    for (const each of reports.flatMap((report) => report.failures)) {
      const known = first.get(each.key);
      const times = each.times + (known?.times ?? 0);
      const earlier = known !== undefined && known.iteration < each.iteration ? known : each;
      first.set(each.key, { ...earlier, times });
    }
    const failures: ExploreFailure[] = [];
    for (const failing of [...first.values()].toSorted((a, b) => a.iteration - b.iteration)) {
      const { key, chosen, iteration, times } = failing;
      const studied = await this.#study({ key, chosen, iteration });
      if (studied === null || !("directives" in studied)) continue;
      failures.push(await this.#told(studied, iteration, times, reports[0]?.codeHash ?? ""));
    }
    return failures;
  }

  /** Variants of a schedule may hang that itself did not. */
  async #study(failing: Pick<StudyTask, "key" | "chosen" | "iteration">): Promise<Answer | null> {
    const ending = new AbortController();
    const timer = setInterval(() => this.#endHung([ending]), TICK_MS);
    const { target } = this.#plan;
    try {
      return await this.#pool.run(
        { kind: "study", target, pulses: this.#pulses, ...failing },
        signalOf(ending),
      );
    } catch (error) {
      this.#end("worker-died", `a worker died: ${firstLine(error)}`);
      return null;
    } finally {
      clearInterval(timer);
    }
  }

  async #told(
    studied: StudiedFailure,
    iteration: number,
    times: number,
    codeHash: string,
  ): Promise<ExploreFailure> {
    const { settings, failures: folder, target, token: words } = this.#plan;
    const { directives, ...rest } = studied;
    const { scenario } = settings;
    const token = writeToken({ ...words, codeHash, key: studied.key, directives });
    const failure: ExploreFailure = { ...rest, iteration, times, token, ...NO_FILES };
    const written = await writeFailureFiles(folder, { scenario, codeHash, target, directives, failure });
    return { ...failure, ...written };
  }

  #result(reports: readonly ExploreReport[], failures: ExploreFailure[], seconds: number): ExploreResult {
    const { plan, outcome, reason } = { plan: this.#plan, outcome: this.#outcome, reason: this.#reason };
    const sum = (of: (report: ExploreReport) => number): number =>
      reports.reduce((total, report) => total + of(report), 0);
    const executions = sum((report) => report.executions);
    const points = sum((report) => report.points);
    const failing = sum((report) => report.failing);
    const traces = reports
      .flatMap((report) => report.traces)
      .toSorted(([a], [b]) => a - b)
      .map(([, hash]) => hash);
    return {
      engine: "explore",
      command: plan.command,
      settings: plan.settings,
      codeHash: reports[0]?.codeHash ?? "",
      outcome,
      reason,
      signal: outcome === "interrupted" ? String(this.#hooks.interruption?.reason) : null,
      workers: plan.workers,
      seconds,
      executions,
      points,
      pointsPerSecond: seconds > 0 ? points / seconds : 0,
      stepsMin: executions === 0 ? 0 : Math.min(...reports.map((report) => report.stepsMin)),
      stepsMean: executions === 0 ? 0 : sum((report) => report.steps) / executions,
      stepsMax: reports.reduce((most, report) => Math.max(most, report.stepsMax), 0),
      capped: sum((report) => report.capped),
      traces: newTraces(traces),
      completed: reports.find(({ completed }) => completed !== null)?.completed ?? null,
      remaining: reports.find(({ remaining }) => remaining !== null)?.remaining ?? null,
      verdict: { word: wordFor(failing, executions), failing, ...wilsonInterval(failing, executions) },
      repeated: sum((report) => report.repeated),
      nondeterminism: reports.find((report) => report.nondeterminism !== null)?.nondeterminism ?? null,
      failures,
    };
  }
}

function wordFor(failing: number, executions: number): ExploreResult["verdict"]["word"] {
  if (failing === 0) return "Never";
  return failing === executions ? "Always" : "Sometimes";
}

function newTraces(hashes: readonly number[]): ExploreResult["traces"] {
  const known = new Set<number>();
  const lastTenth = Math.floor(hashes.length * 0.9);
  let newInLastTenth = 0;
  for (const [index, hash] of hashes.entries()) {
    if (!known.has(hash) && index >= lastTenth) newInLastTenth++;
    known.add(hash);
  }
  return { hashed: hashes.length, distinct: known.size, newInLastTenth };
}
