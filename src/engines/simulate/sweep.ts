/** A sweep on all cores: each point is one task of a pool, and none knows of another. */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { SensitivityRow, SimulateOutcome, SimulateResult, SimulatedPoint } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
import { firstLine } from "../usage.ts";
import { lockPlaces } from "../lock-waits.ts";
import type { PointAnswer, PointTask } from "./point-task.ts";
import { realPoints } from "./real-points.ts";
import { scalingRows } from "./scaling.ts";
import { changedTasks, changesWorthTrying, sensitivityRows } from "./sensitivity.ts";
import type { SimulatePlan } from "./simulate-plan.ts";

/**
 * Room for what was made last, in MiB, of which a third is filled at a time. Calls of vCPUs that wait live long enough to be
 * taken for old objects when there is less room: with 256 vCPUs a quarter of the time went into collecting them.
 */
export const YOUNG_MIB = 96;

/** What a sweep may be told and asked while it runs. */
export interface SweepHooks {
  readonly interruption?: AbortSignal;
  /** Told what part is over, 0 to 1, and what is worth knowing. */
  readonly onProgress?: (fraction: number, note: string) => void;
}

const WORKER = fileURLToPath(new URL("../../../workers/simulate-worker.ts", import.meta.url));

/** Simulates what is planned. */
export async function runSimulate(plan: SimulatePlan, hooks: SweepHooks = {}): Promise<SimulateResult> {
  const { tasks, settings, command } = plan;
  const { answers, outcome, reason } = await simulatePoints(tasks, hooks);
  const points = pointsOf(answers);
  const changed =
    plan.asksSensitivity && outcome === "completed" ? await simulateChanges(plan, points, hooks) : null;
  const ended = changed?.outcome ?? outcome;
  const { realSeconds } = plan;
  const real =
    realSeconds === null || ended !== "completed"
      ? []
      : await realPoints(plan, { seconds: realSeconds, simulated: points }, hooks);
  const wasCut = real.some((point) => point.outcome === "interrupted");
  return {
    engine: "simulate",
    command,
    settings,
    outcome: wasCut ? "interrupted" : ended,
    reason: changed?.reason ?? reason,
    signal: hooks.interruption?.aborted === true ? String(hooks.interruption.reason) : null,
    points,
    scaling: scalingRows(points),
    lockPlaces: lockPlaces(points.flatMap(({ waits }) => waits)),
    sensitivity: changed?.rows ?? [],
    real,
  };
}

/** The same points with every cost that matters changed alone. */
async function simulateChanges(
  { tasks, model }: SimulatePlan,
  points: readonly SimulatedPoint[],
  hooks: SweepHooks,
): Promise<Pick<SimulatedPoints, "outcome" | "reason"> & { readonly rows: SensitivityRow[] }> {
  const changes = changesWorthTrying(points, model);
  const { answers, outcome, reason } = await simulatePoints(changedTasks(tasks, changes), hooks);
  const rows = changes.flatMap((change, index) => {
    const own = answers.slice(index * tasks.length, (index + 1) * tasks.length);
    return sensitivityRows(change, points, pointsOf(own));
  });
  return { outcome, reason, rows };
}

function pointsOf(answers: readonly (MeasuredPoint | undefined)[]): SimulatedPoint[] {
  return answers.flatMap((answer) => (answer === undefined ? [] : [answer.point]));
}

/** What came of simulating points. */
export interface SimulatedPoints {
  /** One for each task, in their order; undefined for those that did not come to their end. */
  readonly answers: readonly (MeasuredPoint | undefined)[];
  readonly outcome: SimulateOutcome;
  /** Why not all did; null if they did. */
  readonly reason: string | null;
}

type MeasuredPoint = Extract<PointAnswer, { readonly point: unknown }>;

/** Simulates points on all cores. Throws UsageError for a scenario that cannot be simulated. */
export async function simulatePoints(
  tasks: readonly PointTask[],
  hooks: SweepHooks = {},
): Promise<SimulatedPoints> {
  if (tasks.length === 0) return { answers: [], outcome: "completed", reason: null };
  const threads = Math.min(availableParallelism(), tasks.length);
  const pool = new Piscina<PointTask, PointAnswer>({
    filename: WORKER,
    minThreads: threads,
    maxThreads: threads,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  // A thread that is lost has a task that says so.
  pool.on("error", () => undefined);
  try {
    return await simulateIn(pool, tasks, hooks);
  } finally {
    await pool.destroy();
  }
}

async function simulateIn(
  pool: Piscina<PointTask, PointAnswer>,
  tasks: readonly PointTask[],
  { interruption, onProgress }: SweepHooks,
): Promise<SimulatedPoints> {
  const answers: (MeasuredPoint | undefined)[] = tasks.map(() => undefined);
  let over = 0;
  let outcome: SimulateOutcome = "completed";
  let reason: string | null = null;
  // The largest take longest: they begin first.
  const order = [...tasks.keys()].toSorted((a, b) => vcpusOf(tasks, b) - vcpusOf(tasks, a));
  const all = order.map(async (index) => {
    const task = tasks[index];
    if (task === undefined) return;
    try {
      const answer = await pool.run(task, interruption === undefined ? {} : { signal: interruption });
      if ("refused" in answer) throw new UsageError(answer.refused);
      answers[index] = answer;
      onProgress?.(++over / tasks.length, `${String(over)} of ${String(tasks.length)} points`);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      const isOurs = interruption?.aborted === true;
      outcome = isOurs ? "interrupted" : "worker-died";
      reason = isOurs ? `by ${String(interruption.reason)}` : `a worker died: ${firstLine(error)}`;
    }
  });
  await Promise.all(all);
  return { answers, outcome, reason };
}

function vcpusOf(tasks: readonly PointTask[], index: number): number {
  return tasks[index]?.config.vcpus ?? 0;
}
