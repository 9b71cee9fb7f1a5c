/** Explores a user's program from anywhere: a test, a script. */
import { ExploreCell } from "../explorer.ts";
import type { ExploreReport } from "../explorer.ts";
import { writeFailureFiles } from "../failures/failure-files.ts";
import { Worker } from "node:worker_threads";
import { basename, extname, isAbsolute, relative } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { ExploreFailure } from "../../../report/types.ts";
import { UsageError } from "../../errors.ts";
import { allowedNames, decimalNumber, wholeNumber } from "../../usage.ts";
import { POINTS_MAX } from "../scheduler.ts";
import { shortPath } from "../short-path.ts";
import { STRATEGY_NAMES, isStrategyName } from "../strategies/catalogue.ts";
import type { StrategyName } from "../strategies/catalogue.ts";
import { wantFile } from "./loading-error.ts";
import type { ProgramTarget } from "../target.ts";
import { writeInput } from "./input-text.ts";
import type { ProgramAnswer, ProgramStudy, ProgramTask } from "./program-thread.ts";
import { writeProgramToken } from "./program-token.ts";
import { writeDirectives } from "./schedule-text.ts";

/** How a program is explored. */
export interface ExploreOptions {
  /** What main is given: plain data. */
  readonly input?: unknown;
  /** Executions, at most. Default 10,000. */
  readonly executions?: number;
  /** Seconds, at most; without end when left out. */
  readonly seconds?: number;
  /** Default `portfolio`: random searches, and systematic ones that can end having tried everything. */
  readonly strategy?: StrategyName;
  /** From which all that is random follows. Default 1: a test does the same every time. */
  readonly seed?: number;
  /** Scheduling points after which an execution is given up. Default 20,000. */
  readonly steps?: number;
  /** Whether `Atomics.wait` may return without having been notified. Default false. */
  readonly spuriousWakeups?: boolean;
  /** Replays this schedule, once, instead of exploring: `failure.schedule` of an earlier result. */
  readonly schedule?: string;
  /** Folder for what failed, below the working directory; null writes nothing. Default `failures`. */
  readonly failures?: string | null;
}

/** A failing execution, minimised and explained; its `token` is what `umbra replay` takes. */
export interface ProgramFailure extends ExploreFailure {
  /** Replays it in a test: the option of that name. */
  readonly schedule: string;
}

/** What an exploration found. */
export interface ProgramResult {
  readonly program: string;
  readonly executions: number;
  /** Scheduling points. */
  readonly points: number;
  /** Executions given up because they took too many steps: they say nothing. */
  readonly capped: number;
  /** What was tried in full, null when the search was ended by a bound. */
  readonly completed: string | null;
  /** Why two executions of one schedule differed: time, chance, or state that outlives an execution. */
  readonly nondeterminism: string | null;
  readonly failure: ProgramFailure | null;
}

const DEFAULTS = {
  executions: 10_000,
  strategy: "portfolio",
  seed: 1,
  steps: 20_000,
  failures: "failures",
} as const;
const WORKER = new URL("../../../../workers/program-worker.ts", import.meta.url);
const THREADS_KEPT = 8;
/** Cells of a task, as `ExploreCell` has them. */
const TASK_CELLS = Object.keys(ExploreCell).length;
const LAST = 1;
const OVER = 2;

/** Threads by program: a module is translated once, however often it is explored. */
const threads = new Map<string, ProgramThread>();

/**
 * Explores the program of a module: its default export is main, a thread that spawns others. Throws UsageError, in one
 * line with file, line and reason, when the module cannot be explored, and when it has no shared access at all.
 */
export async function explore(program: URL | string, options: ExploreOptions = {}): Promise<ProgramResult> {
  const url = urlOf(program);
  wantFile(url);
  const { executions, strategy, seed, steps, seconds, failures } = checked(url, { ...DEFAULTS, ...options });
  const cells = new Int32Array(new SharedArrayBuffer(4 * TASK_CELLS));
  cells[LAST] = executions - 1;
  const timer =
    seconds === undefined ? undefined : setTimeout(() => Atomics.store(cells, OVER, 1), 1000 * seconds);
  const target: ProgramTarget = {
    kind: "program",
    module: relative(process.cwd(), fileURLToPath(url)),
    input: writeInput(options.input),
    hasSpuriousWakeups: options.spuriousWakeups ?? false,
    pointsMax: steps,
  };
  const schedule = options.schedule ?? null;
  const answer = await threadFor(url).ask({ target, strategy, seed, schedule, cells });
  clearTimeout(timer);
  if (answer.kind === "refused") throw new UsageError(answer.message);
  const { report, failure: study } = answer;
  const folder = schedule === null ? (failures ?? null) : null;
  const failure = study === null ? null : await failureOf(study, target, report, folder);
  const { points, capped, completed, nondeterminism } = report;
  return { program: url, executions: report.executions, points, capped, completed, nondeterminism, failure };
}

/** A failure as people are told of it, with its files below a folder. */
async function failureOf(
  { directives, ...study }: ProgramStudy,
  target: ProgramTarget,
  { codeHash, failing }: ExploreReport,
  folder: string | null,
): Promise<ProgramFailure> {
  const token = writeProgramToken({ target, codeHash, key: study.key, directives });
  const failure: ExploreFailure = { ...study, times: failing, token, folder: null };
  const scenario = basename(target.module, extname(target.module));
  const file = { scenario, codeHash, target, directives, failure };
  const written = folder === null ? null : await writeFailureFiles(folder, file);
  return { ...failure, folder: written, schedule: writeDirectives(directives) };
}

/** A worker and the tasks that wait for it. */
class ProgramThread {
  readonly #worker: Worker;
  #turn: Promise<unknown> = Promise.resolve();
  #died: Error | undefined;

  constructor(url: string) {
    this.#worker = new Worker(WORKER, {
      workerData: { url },
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    this.#worker.on("error", (error: Error) => {
      this.#died = error;
    });
    this.#worker.unref();
  }

  /** One task after another. */
  ask(task: ProgramTask): Promise<ProgramAnswer> {
    const answer = this.#turn.then(() => this.#perform(task));
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  end(): void {
    void this.#turn.then(() => this.#worker.terminate());
  }

  #perform(task: ProgramTask): Promise<ProgramAnswer> {
    if (this.#died !== undefined) return Promise.reject(this.#died);
    this.#worker.ref();
    return new Promise<ProgramAnswer>((resolve, reject) => {
      const onAnswer = (answer: ProgramAnswer): void => {
        this.#worker.off("error", reject);
        this.#worker.unref();
        resolve(answer);
      };
      this.#worker.once("message", onAnswer);
      this.#worker.once("error", reject);
      this.#worker.postMessage(task);
    });
  }
}

function threadFor(url: string): ProgramThread {
  const known = threads.get(url);
  if (known !== undefined) return known;
  const [oldest] = threads;
  if (threads.size >= THREADS_KEPT && oldest !== undefined) {
    threads.delete(oldest[0]);
    oldest[1].end();
  }
  const made = new ProgramThread(url);
  threads.set(url, made);
  return made;
}

type ResolvedOptions = ExploreOptions & Required<Pick<ExploreOptions, keyof typeof DEFAULTS>>;

/** Throws UsageError for a value that its type, or what it is for, does not allow: callers may be plain JavaScript. */
function checked(url: string, options: ResolvedOptions): ResolvedOptions {
  const { strategy, executions, seed, steps, seconds } = options;
  const name = (option: string): string => `${shortPath(url)}: option ${option}`;
  if (!isStrategyName(strategy))
    throw new UsageError(
      `${name("strategy")} wants ${allowedNames(STRATEGY_NAMES)}, got "${String(strategy)}"`,
    );
  wholeNumber(name("executions"), String(executions), { min: 1, max: 2 ** 31 - 1 });
  wholeNumber(name("seed"), String(seed), { min: 0, max: 2 ** 32 - 1 });
  wholeNumber(name("steps"), String(steps), { min: 1, max: POINTS_MAX });
  if (seconds !== undefined)
    decimalNumber(name("seconds"), String(seconds), { min: 0.001, max: 7 * 24 * 3600 });
  return options;
}

function urlOf(program: URL | string): string {
  if (program instanceof URL) return program.href;
  if (program.startsWith("file:")) return program;
  if (isAbsolute(program)) return pathToFileURL(program).href;
  throw new UsageError(`program "${program}": name it by URL: new URL("./program.ts", import.meta.url)`);
}
