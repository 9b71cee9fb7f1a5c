/** From a failing execution to what a person is told: minimised, explained, every operation in words. */
import type { ExploreViolation, Switches, TraceRow } from "../../../report/types.ts";
import { SITES } from "../../coroutine/sites.ts";
import { RepeatingStrategy } from "../directives.ts";
import type { Directive } from "../directives.ts";
import { keyOfFailure, record, replay } from "../execution.ts";
import type { RecordedExecution } from "../execution.ts";
import { racingPairs, requiredOrders } from "./explain.ts";
import { minimise } from "./minimise.ts";
import { SCHEDULER } from "../scheduler.ts";
import { shortPath } from "../short-path.ts";
import type { Step } from "../trace-recorder.ts";
import type { World } from "../world.ts";

/** A failure, studied. Plain data. */
export interface StudiedFailure {
  readonly key: string;
  readonly violations: readonly ExploreViolation[];
  readonly directives: readonly Directive[];
  readonly before: Switches;
  readonly after: Switches;
  readonly replays: number;
  readonly orders: readonly { readonly first: number; readonly second: number }[];
  readonly threads: readonly string[];
  readonly trace: readonly TraceRow[];
}

const REPLAYS_MAX = 5000;
/** Points that minimising one failure may take: a bound that is the same on every computer. */
const POINTS_MAX = 30_000_000;

/** Studies the execution that chose these threads; throws Error when it does not fail with the key. */
export function studyFailure(world: World, chosen: Uint8Array, key: string): StudiedFailure {
  const failing = record(world, new RepeatingStrategy(chosen), 0);
  if (failing === null || !failing.failures.some((each) => keyOfFailure(each) === key))
    throw new Error(`the failing execution did not fail again with ${key}`);
  return study(world, failing, key);
}

/** Minimises and explains a failing execution. */
export function study(world: World, failing: RecordedExecution, key: string): StudiedFailure {
  let points = 0;
  const minimised = minimise(world, failing, key, {
    replaysMax: REPLAYS_MAX,
    isOver: () => (points += SCHEDULER.points) > POINTS_MAX,
  });
  const { execution, before, after, replays } = minimised;
  const orders = requiredOrders(world, execution, key);
  // A world knows its threads and cells by name as of its last execution.
  replay(world, execution.directives);
  return {
    ...described(world, execution, key),
    before,
    after,
    replays,
    orders: orders.map(({ first, second }) => ({ first: first + 1, second: second + 1 })),
  };
}

/** An execution in words. */
export function described(
  world: World,
  execution: RecordedExecution,
  key: string,
): Pick<StudiedFailure, "key" | "violations" | "directives" | "threads" | "trace"> {
  const { trace, failures, directives } = execution;
  const inConflict = new Set(racingPairs(trace).flatMap(({ first, second }) => [first, second]));
  const threads = 1 + trace.reduce((most, { thread }) => Math.max(most, thread), 0);
  return {
    key,
    violations: failures.map(({ check, thread, message }) => ({ check, thread, message })),
    directives,
    threads: Array.from({ length: threads }, (_, thread) => world.threadName(thread)),
    trace: trace.map((step, index) => rowOf(world, trace, step, index, inConflict.has(index))),
  };
}

function rowOf(
  world: World,
  trace: readonly Step[],
  step: Step,
  index: number,
  conflicts: boolean,
): TraceRow {
  const site = SITES.site(step.site);
  const { before, highBefore, after, highAfter, span } = step;
  const isChanged = before !== after || highBefore !== highAfter;
  return {
    step: index + 1,
    thread: step.thread,
    action: site.name,
    object: world.cellName(step.cell),
    before: hexValue(before, highBefore, span),
    after: isChanged ? hexValue(after, highAfter, span) : null,
    site: `${shortPath(site.file)}:${String(site.line)}`,
    within: site.within,
    conflicts,
    isPending: step.isPending,
    switched: step.isPending ? null : switchOf(trace, index),
  };
}

function switchOf(trace: readonly Step[], index: number): TraceRow["switched"] {
  const previous = trace[index - 1];
  const step = trace[index];
  if (previous === undefined || step === undefined || previous.thread === step.thread) return null;
  if (((step.enabled >>> previous.thread) & 1) !== 0) return "preempted";
  const goesOn = trace.findIndex((each, at) => at > index && each.thread === previous.thread) >= 0;
  return goesOn ? "blocked" : "ended";
}

function hexValue(low: number, high: number, span: number): string {
  const text = (low >>> 0).toString(16);
  if (span !== 2 || high === 0) return `0x${text}`;
  return `0x${(high >>> 0).toString(16)}${text.padStart(8, "0")}`;
}
