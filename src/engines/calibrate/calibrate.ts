/** A calibration: one thread alone, two threads together, every workload on one vCPU, and the model of all that. */
/* oxlint-disable no-await-in-loop -- what is measured has the host to itself */
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { CalibrateResult, MeasuredTime } from "../../report/types.ts";
import { RunError } from "../errors.ts";
import { writeFailure, writeWhole } from "../output-file.ts";
import type { SweepHooks } from "../simulate/sweep.ts";
import { firstLine } from "../usage.ts";
import { calibratedModel, costsOf } from "./calibrated-model.ts";
import type { Measured } from "./calibrated-model.ts";
import type { CalibratePlan } from "./calibrate-plan.ts";
import type { CalibrateTask } from "./calibrate-task.ts";
import { countWorkloads } from "./counts.ts";
import { idleMachine } from "./flush-trip.ts";
import { hostCaches, thisHost } from "./host.ts";
import { Partner } from "./partner.ts";

const WORKER = fileURLToPath(new URL("../../../workers/calibrate-worker.ts", import.meta.url));

/** Parts of the time: single times, which are many and need little, and workloads. */
const PRIMITIVES_SHARE = 0.2;
/** Times that are measured one after another, in both of the first two parts. */
const PRIMITIVES = 18;

/** Measures what is planned, and writes the model. Throws RunError when a thread dies. */
export async function runCalibrate(plan: CalibratePlan, hooks: SweepHooks = {}): Promise<CalibrateResult> {
  const at = new Date().toISOString();
  const host = thisHost();
  const base = { engine: "calibrate", command: plan.command, host, at } as const;
  const measured = await measureAll(plan, hooks);
  if (measured === null) {
    const signal = String(hooks.interruption?.reason);
    const nothing = { primitives: [], workloads: [], costs: [], output: null };
    return { ...base, outcome: "interrupted", reason: `by ${signal}`, signal, ...nothing };
  }
  const { file, workloads } = calibratedModel({ ...measured, host, at });
  const costs = costsOf(file);
  await write(plan.output, `${JSON.stringify(file, null, 2)}\n`);
  const { primitives } = measured;
  return {
    ...base,
    outcome: "completed",
    reason: null,
    signal: null,
    primitives,
    workloads,
    costs,
    output: plan.output,
  };
}

/** Null when it was interrupted. */
async function measureAll(
  plan: CalibratePlan,
  hooks: SweepHooks,
): Promise<Pick<Measured, "primitives" | "workloads"> | null> {
  const { interruption, onProgress } = hooks;
  const { privateLines, sharedLines } = hostCaches();
  const cache = { privateLines: privateLines.value, sharedLines: sharedLines.value };
  const milliseconds = (plan.seconds * 1000 * PRIMITIVES_SHARE) / PRIMITIVES;
  onProgress?.(0, "accesses");
  const alone = await onThreads([{ kind: "alone", milliseconds }], hooks);
  onProgress?.(PRIMITIVES_SHARE / 2, "two threads");
  const memory = Partner.memory();
  const machine = idleMachine();
  const members = [0, 1] as const;
  const pair = await onThreads(
    members.map((me) => ({ kind: "pair", me, memory, machine, milliseconds })),
    hooks,
  );
  const each = (plan.seconds * 1000 * (1 - PRIMITIVES_SHARE)) / plan.workloads.length;
  const times: MeasuredTime[] = [];
  for (const { name, task } of plan.workloads) {
    onProgress?.(PRIMITIVES_SHARE + ((1 - PRIMITIVES_SHARE) * times.length) / plan.workloads.length, name);
    times.push(...(await onThreads([{ kind: "workload", task, milliseconds: each }], hooks)));
  }
  const counts = wasInterrupted(hooks)
    ? []
    : await countWorkloads(plan.workloads, cache, interruption === undefined ? {} : { interruption });
  if (wasInterrupted(hooks)) return null;
  const workloads = plan.workloads.map(({ name, command }, index) => {
    const [time, counted] = [times[index], counts[index]];
    if (time === undefined || counted === undefined) throw new RunError(`${name} was not measured`);
    const { nanos, rounds, spread } = time;
    return { name, command, nanos, rounds, spread, counts: counted };
  });
  return { primitives: [...alone, ...pair], workloads };
}

/** Does each task on a new thread of its own, all at the same time. Nothing once it was interrupted. */
async function onThreads(tasks: readonly CalibrateTask[], hooks: SweepHooks): Promise<MeasuredTime[]> {
  const { interruption } = hooks;
  if (wasInterrupted(hooks)) return [];
  const pool = new Piscina<CalibrateTask, MeasuredTime[]>({
    filename: WORKER,
    minThreads: tasks.length,
    maxThreads: tasks.length,
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  pool.on("error", () => undefined);
  try {
    const options = interruption === undefined ? {} : { signal: interruption };
    const answers = await Promise.all(tasks.map((task) => pool.run(task, options)));
    return answers.flat();
  } catch (error) {
    if (wasInterrupted(hooks)) return [];
    throw new RunError(`a thread of the calibration died: ${firstLine(error)}`, { cause: error });
  } finally {
    await pool.destroy();
  }
}

function wasInterrupted({ interruption }: SweepHooks): boolean {
  return interruption?.aborted === true;
}

async function write(output: string, text: string): Promise<void> {
  try {
    await writeWhole(output, text);
  } catch (error) {
    throw new RunError(`--output ${output}: cannot be written: ${writeFailure(error)}`, { cause: error });
  }
}
