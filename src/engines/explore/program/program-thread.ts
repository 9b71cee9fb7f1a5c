/** The thread that explores one program: exploration after exploration, each with an input of its own. */
import { parentPort, workerData } from "node:worker_threads";
import { readDirectives } from "./schedule-text.ts";
import { RefusedError } from "../../coroutine/hook.ts";
import { UsageError } from "../../errors.ts";
import { keyOfFailure, replay } from "../execution.ts";
import { exploreWorld } from "../explorer.ts";
import { Pulse, withPulse } from "../pulse.ts";
import type { ExploreReport } from "../explorer.ts";
import { countSwitches } from "../failures/minimise.ts";
import { UnseenAccessError } from "../unseen-access.ts";
import { createStrategy } from "../strategies/catalogue.ts";
import type { StrategyName } from "../strategies/catalogue.ts";
import { described, studyFailure } from "../failures/study-failure.ts";
import type { StudiedFailure } from "../failures/study-failure.ts";
import { loadingError } from "./loading-error.ts";
import type { ExploreFailure } from "../../../report/types.ts";
import type { ProgramTarget } from "../target.ts";
import { SCHEDULER } from "../scheduler.ts";
import type { Search } from "../strategy.ts";
import type { Part } from "./parts.ts";
import { UserWorld } from "./user-world.ts";

/** An exploration of the program. Plain data. */
export interface ProgramTask {
  readonly target: ProgramTarget;
  readonly strategy: StrategyName;
  readonly seed: number;
  /** Replays this schedule instead, once; null explores. */
  readonly schedule: string | null;
  readonly part: Part;
  readonly cells: Int32Array;
  readonly pulses: Int32Array;
}

/** What became of a failure: minimised, in words. */
export type ProgramStudy = Omit<StudiedFailure, "orders"> & Pick<ExploreFailure, "iteration" | "orders">;

/** The answer to a task. Plain data. */
export type ProgramAnswer =
  | {
      readonly kind: "explored";
      readonly report: ExploreReport;
      readonly failure: ProgramStudy | null;
      /** Whether the search that the part belongs to has tried everything. */
      readonly isExhausted: boolean;
    }
  /** What the user must know; errors lose their class between threads. */
  | { readonly kind: "refused"; readonly message: string };

/** Answers tasks until the thread is ended. */
export function serveProgram(): void {
  const url = urlOf(workerData);
  const loading = UserWorld.load(url).catch((error: unknown) => {
    throw loadingError(error, url);
  });
  // Whoever asks is told.
  loading.catch(() => undefined);
  parentPort?.on("message", (task: ProgramTask) => {
    void loading
      .then(({ world, codeHash }) => perform(world, codeHash, task))
      .catch((error: unknown): ProgramAnswer => ({ kind: "refused", message: explanation(error) }))
      .then((answer) => parentPort?.postMessage(answer));
  });
}

function urlOf(data: unknown): string {
  if (typeof data === "object" && data !== null && "url" in data) return String(data.url);
  throw new Error("a program's thread was begun without the program's URL");
}

function perform(world: UserWorld, codeHash: string, task: ProgramTask): ProgramAnswer {
  world.take(task.target);
  const { schedule, cells, pulses } = task;
  const pulse = new Pulse(pulses, 0);
  if (schedule !== null) return withPulse(pulse, () => replayed(world, codeHash, schedule));
  const strategy = strategyOf(task);
  const report = exploreWorld(world, { strategy, cells, pulses, worker: 0, keepsGoing: false }, codeHash);
  // One thread has one schedule.
  const isExhausted = strategy.hasAll === true || SCHEDULER.threads === 1;
  const [first] = report.failures;
  // What cannot be repeated cannot be studied.
  if (first === undefined || report.nondeterminism !== null)
    return { kind: "explored", report, failure: null, isExhausted };
  const study = withPulse(pulse, () => studyFailure(world, first.chosen, first.key), first.iteration);
  return { kind: "explored", report, failure: { ...study, iteration: first.iteration }, isExhausted };
}

/** The search that a later part goes on with. */
let search: Search | undefined;

function strategyOf({ strategy, seed, part }: ProgramTask): Search {
  if (!part.isSearch) return createStrategy(strategy, { seed, onlySampling: true });
  if (part.from === 0) search = undefined;
  search ??= createStrategy(strategy, { seed, onlySearching: true });
  return search;
}

function replayed(world: UserWorld, codeHash: string, schedule: string): ProgramAnswer {
  const directives = readDirectives(schedule);
  const execution = replay(world, directives);
  const absent = directives.find(({ thread, next }) => Math.max(thread, next) >= SCHEDULER.threads);
  if (absent !== undefined)
    throw new UsageError(
      `${world.name}: option schedule "${schedule}" names a thread that is not there: the program had ${String(SCHEDULER.threads)}`,
    );
  const { points, steps, failures } = execution;
  const [first] = failures;
  const report: ExploreReport = {
    codeHash,
    seconds: 0,
    executions: 1,
    failing: failures.length > 0 ? 1 : 0,
    points,
    steps,
    stepsMin: steps,
    stepsMax: steps,
    capped: 0,
    traces: [],
    failures: [],
    completed: null,
    remaining: null,
    repeated: 0,
    nondeterminism: null,
  };
  if (first === undefined) return { kind: "explored", report, failure: null, isExhausted: false };
  const switches = countSwitches(execution.trace);
  const study = described(world, execution, keyOfFailure(first));
  const failure = { ...study, before: switches, after: switches, replays: 1, orders: null, iteration: 0 };
  return { kind: "explored", report, failure, isExhausted: false };
}

function explanation(error: unknown): string {
  const isUsers = [RefusedError, UsageError, UnseenAccessError, SyntaxError].some(
    (type) => error instanceof type,
  );
  if (isUsers && error instanceof Error) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
