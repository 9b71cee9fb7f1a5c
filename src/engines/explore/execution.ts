/** One execution of a world under a strategy: from the same beginning to its end, with what was found. */
import { DirectedStrategy, RecordingStrategy } from "./directives.ts";
import type { Directive } from "./directives.ts";
import type { Failure } from "./program-world.ts";
import { Ending, SCHEDULER } from "./scheduler.ts";
import { shortPath } from "./short-path.ts";
import type { Strategy } from "./strategy.ts";
import { TraceRecorder } from "./trace-recorder.ts";
import type { Step } from "./trace-recorder.ts";
import { watched } from "./world.ts";
import type { World } from "./world.ts";

/** What came of an execution. */
export interface Execution {
  /** An `Ending`. */
  readonly ending: number;
  readonly points: number;
  readonly steps: number;
  readonly failures: readonly Failure[];
}

/** An execution with everything that happened. */
export interface RecordedExecution extends Execution {
  readonly directives: readonly Directive[];
  /** What was done, in order; behind it what nobody could do any more, if the execution ended in a deadlock. */
  readonly trace: readonly Step[];
}

/** What makes two failures the same bug. */
export function keyOfFailure({ check, key }: Failure): string {
  return key ?? check;
}

/** Executes iteration `iteration` of a strategy; null when the strategy has nothing left. */
export function execute(
  world: World,
  strategy: Strategy,
  iteration: number,
  isThorough = true,
): Execution | null {
  SCHEDULER.use(strategy);
  world.begin();
  if (!strategy.begin(SCHEDULER, iteration)) return null;
  SCHEDULER.observer = world.observer;
  const failures: Failure[] = [];
  let ending: number = Ending.stopped;
  try {
    ending = SCHEDULER.run();
  } catch (error) {
    failures.push(thrown(error));
  }
  const { points, steps } = SCHEDULER;
  strategy.end(SCHEDULER, ending);
  failures.push(...world.end(ending, isThorough));
  if (ending === Ending.deadlock && failures.length === 0 && world.isIdle?.() !== true)
    failures.push(deadlock(world));
  return { ending, points, steps, failures };
}

/** Executes with a trace and the schedule written down. */
export function record(
  world: World,
  strategy: Strategy,
  iteration: number,
  isThorough = true,
): RecordedExecution | null {
  const recorder = new TraceRecorder();
  const recording = new RecordingStrategy(strategy);
  const execution = execute(watched(world, recorder), recording, iteration, isThorough);
  if (execution === null) return null;
  const pending = execution.ending === Ending.deadlock ? recorder.pending(SCHEDULER) : [];
  return { ...execution, directives: recording.directives, trace: [...recorder.steps, ...pending] };
}

/** Executes along directives, with a trace. */
export function replay(world: World, directives: readonly Directive[]): RecordedExecution {
  const execution = record(world, new DirectedStrategy(directives), 0);
  if (execution === null) throw new Error("directives are never exhausted");
  return execution;
}

const ENGINES = new URL("..", import.meta.url).href;

/** Key of the failure of calls that went too deep: how deep that is depends on more than the schedule. */
export const TOO_DEEP = "exception too deep";

function thrown(error: unknown): Failure {
  const thread = SCHEDULER.current;
  if (!(error instanceof Error)) return { check: "exception", thread, message: `It threw ${String(error)}.` };
  const places = [...(error.stack ?? "").matchAll(/\(?(file:\/\/[^)\s?]+)[^)\s]*?:(\d+):\d+\)?/g)];
  // A limit of ours is met by whoever asked for more.
  const place = places.find(([, url = ""]) => !url.startsWith(ENGINES)) ?? places[0];
  const where = place === undefined ? "" : ` (at ${shortPath(place[1] ?? "")}:${place[2] ?? ""})`;
  const isTooDeep = error instanceof RangeError && error.message.startsWith("Maximum call stack");
  if (isTooDeep)
    return {
      check: "exception",
      key: TOO_DEEP,
      thread,
      message: `Its calls go too deep, without end perhaps${where}.`,
    };
  return { check: "exception", thread, message: `${error.name}: ${error.message}${where}` };
}

/** A deadlock about which no check knew more. */
function deadlock(world: World): Failure {
  const waiting: string[] = [];
  for (let thread = 0; thread < SCHEDULER.threads; thread++) {
    if (((SCHEDULER.live >>> thread) & 1) === 0) continue;
    waiting.push(`${world.threadName(thread)} on ${world.cellName(SCHEDULER.cell[thread] ?? 0)}`);
  }
  return { check: "deadlock", thread: -1, message: `Nobody can go on: ${waiting.join(", ")}.` };
}
