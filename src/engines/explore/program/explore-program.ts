/** Explores a user's program from anywhere: a test, a script. */
import type { ExploreReport } from "../explorer.ts";
import { NO_FILES, writeFailureFiles } from "../failures/failure-files.ts";
import { availableParallelism } from "node:os";
import { basename, extname, isAbsolute, relative } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { ExploreFailure } from "../../../report/types.ts";
import { RunError, UsageError } from "../../errors.ts";
import { allowedNames, decimalNumber, wholeNumber } from "../../usage.ts";
import { PATIENCE_SECONDS } from "../pulse.ts";
import { POINTS_MAX } from "../scheduler.ts";
import { shortPath } from "../short-path.ts";
import { STRATEGY_NAMES, isStrategyName } from "../strategies/catalogue.ts";
import type { StrategyName } from "../strategies/catalogue.ts";
import { wantFile } from "./loading-error.ts";
import type { ProgramTarget } from "../target.ts";
import { writeInput } from "./input-text.ts";
import { ProgramCrew } from "./program-crew.ts";
import type { ProgramStudy } from "./program-thread.ts";
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
  /**
   * Threads that explore. The result of a number of executions is the same for all. Default: one, and one for each core
   * once it has taken a second.
   */
  readonly workers?: number;
  /** Scheduling points after which an execution is given up. Default 20,000. */
  readonly steps?: number;
  /**
   * Seconds that a thread may compute between two shared accesses. Default 30: a loop without one would never end, and
   * is told as an error.
   */
  readonly patience?: number;
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
  patience: PATIENCE_SECONDS,
} as const;
const NUMBERS: ReadonlySet<string> = new Set([
  "executions",
  "seconds",
  "seed",
  "workers",
  "steps",
  "patience",
]);
const OPTIONS: ReadonlySet<string> = new Set([
  ...NUMBERS,
  "input",
  "strategy",
  "spuriousWakeups",
  "schedule",
  "failures",
]);
const CREWS_KEPT = 8;

/** Threads by program: a module is translated once, however often it is explored. */
const crews = new Map<string, ProgramCrew>();

/**
 * Explores the program of a module: its default export is main, a thread that spawns others. Throws UsageError, in one
 * line with file, line and reason, when the module cannot be explored, and when it has no shared access at all.
 */
export async function explore(program: URL | string, options: ExploreOptions = {}): Promise<ProgramResult> {
  const url = urlOf(program);
  wantFile(url);
  const { executions, strategy, seed, steps, seconds, patience, failures } = checked(url, {
    ...DEFAULTS,
    ...options,
  });
  const target: ProgramTarget = {
    kind: "program",
    module: relative(process.cwd(), fileURLToPath(url)),
    input: writeInput(options.input),
    hasSpuriousWakeups: options.spuriousWakeups ?? false,
    pointsMax: steps,
  };
  const schedule = options.schedule ?? null;
  const { workers } = options;
  const cores = availableParallelism();
  const task = { target, strategy, seed, schedule, executions, seconds, workers, cores, patience };
  const parts = await crewFor(url)
    .explore(task)
    .catch((error: unknown) => {
      if (!(error instanceof RunError)) throw error;
      // The next exploration has threads of its own.
      crews.get(url)?.end();
      crews.delete(url);
      throw new RunError(`${shortPath(url)}: ${error.message}`, { cause: error });
    });
  const sum = (of: (report: ExploreReport) => number): number =>
    parts.reduce((total, { report }) => total + of(report), 0);
  const all = sum((report) => report.executions);
  const failed = parts.at(-1);
  const study = failed?.failure ?? null;
  // Executions are numbered as if one thread had made them all.
  const before = all - (failed?.report.executions ?? 0);
  const first =
    study === null ? null : { ...study, iteration: before + (failed?.report.executions ?? 1) - 1 };
  const folder = schedule === null ? (failures ?? null) : null;
  const codeHash = failed?.report.codeHash ?? "";
  return {
    program: url,
    executions: all,
    points: sum((report) => report.points),
    capped: sum((report) => report.capped),
    completed: parts.findLast(({ report }) => report.completed !== null)?.report.completed ?? null,
    nondeterminism: parts.find(({ report }) => report.nondeterminism !== null)?.report.nondeterminism ?? null,
    failure: first === null ? null : await failureOf(first, target, codeHash, folder),
  };
}

/** A failure as people are told of it, with its files below a folder. */
async function failureOf(
  { directives, ...study }: ProgramStudy,
  target: ProgramTarget,
  codeHash: string,
  folder: string | null,
): Promise<ProgramFailure> {
  const token = writeProgramToken({ target, codeHash, key: study.key, directives });
  const failure: ExploreFailure = { ...study, times: 1, token, ...NO_FILES };
  const scenario = basename(target.module, extname(target.module));
  const file = { scenario, codeHash, target, directives, failure };
  const written = folder === null ? NO_FILES : await writeFailureFiles(folder, file);
  return { ...failure, ...written, schedule: writeDirectives(directives) };
}

function crewFor(url: string): ProgramCrew {
  const known = crews.get(url);
  if (known !== undefined) return known;
  const [oldest] = crews;
  if (crews.size >= CREWS_KEPT && oldest !== undefined) {
    crews.delete(oldest[0]);
    oldest[1].end();
  }
  const made = new ProgramCrew(url);
  crews.set(url, made);
  return made;
}

type ResolvedOptions = ExploreOptions & Required<Pick<ExploreOptions, keyof typeof DEFAULTS>>;

/** Throws UsageError for a value that its type, or what it is for, does not allow: callers may be plain JavaScript. */
function checked(url: string, options: ResolvedOptions): ResolvedOptions {
  const { strategy, executions, seed, steps, seconds, patience } = options;
  const name = (option: string): string => `${shortPath(url)}: option ${option}`;
  for (const [option, value] of Object.entries(options)) {
    if (!OPTIONS.has(option)) throw new UsageError(`${name(option)}: there is none of this name`);
    if (NUMBERS.has(option) && value !== undefined && typeof value !== "number")
      throw new UsageError(`${name(option)} wants a number, got ${JSON.stringify(value) ?? "nothing"}`);
  }
  if (!isStrategyName(strategy))
    throw new UsageError(
      `${name("strategy")} wants ${allowedNames(STRATEGY_NAMES)}, got "${String(strategy)}"`,
    );
  wholeNumber(name("executions"), String(executions), { min: 1, max: 2 ** 31 - 1 });
  wholeNumber(name("seed"), String(seed), { min: 0, max: 2 ** 32 - 1 });
  wholeNumber(name("steps"), String(steps), { min: 1, max: POINTS_MAX });
  if (options.workers !== undefined)
    wholeNumber(name("workers"), String(options.workers), { min: 1, max: 256 });
  decimalNumber(name("patience"), String(patience), { min: 0.1, max: 7 * 24 * 3600 });
  if (seconds !== undefined)
    decimalNumber(name("seconds"), String(seconds), { min: 0.001, max: 7 * 24 * 3600 });
  return options;
}

function urlOf(program: URL | string): string {
  if (program instanceof URL) return program.href;
  if (typeof program !== "string")
    throw new UsageError('explore wants a program: explore(new URL("./program.ts", import.meta.url))');
  if (program.startsWith("file:")) return program;
  if (isAbsolute(program)) return pathToFileURL(program).href;
  throw new UsageError(`program "${program}": name it by URL: new URL("./program.ts", import.meta.url)`);
}
