/**
 * The stress engine as commands use it. A scenario is one run; a recorded guest, which ends by itself, is replayed on one
 * fresh machine after another until the run is over.
 */
/* oxlint-disable no-await-in-loop -- the passes run one after another */
import type { LockRow, StressResult, VcpuRow } from "../../report/types.ts";
import { Crew } from "./crew.ts";
import type { StressPlan } from "./plan.ts";
import { finishedLocks, rate } from "./result.ts";
import { runWith } from "./run.ts";
import type { StressHooks } from "./run.ts";

/** A pass through a trace that would have less time than this is not begun. */
const SHORTEST_PASS_SECONDS = 0.05;

/** Runs what is planned. */
export async function runStress(plan: StressPlan, hooks: StressHooks = {}): Promise<StressResult> {
  if (plan.watch !== "off") return runWatched(plan, hooks);
  const crew = new Crew(crewSize(plan));
  try {
    return await runOn(crew, plan, hooks);
  } finally {
    await crew.dismiss();
  }
}

/** Part of the time goes to the same run without watchpoints: what they cost depends on what runs. */
const UNWATCHED_SHARE = 0.5;
const UNWATCHED_SECONDS = 10;

async function runWatched(plan: StressPlan, hooks: StressHooks): Promise<StressResult> {
  const seconds = plan.seconds === null ? null : Math.min(UNWATCHED_SECONDS, plan.seconds * UNWATCHED_SHARE);
  // Threads of their own: what has seen both kinds of memory is slower on either.
  const plain = await runStress({ ...plan, seconds, watch: "off" }, hooks);
  if (plain.outcome !== "completed" || plain.violations.length > 0) return plain;
  const crew = new Crew(crewSize(plan));
  try {
    const rest = plan.seconds === null || seconds === null ? null : plan.seconds - seconds;
    const result = await runOn(crew, { ...plan, seconds: rest }, hooks);
    const { watch, operationsPerSecond } = result;
    if (watch === null || operationsPerSecond === 0) return result;
    return { ...result, watch: { ...watch, overhead: plain.operationsPerSecond / operationsPerSecond } };
  } finally {
    await crew.dismiss();
  }
}

/** Workers that a plan needs. */
export function crewSize({ source, config }: StressPlan): number {
  const hasToolstack = source.kind === "scenario" && source.loaded.scenario.toolstack !== undefined;
  return config.vcpus + (hasToolstack ? 1 : 0);
}

/** Runs what is planned on workers that may serve further runs, if this one completes. */
export function runOn(crew: Crew, plan: StressPlan, hooks: StressHooks): Promise<StressResult> {
  return plan.source.kind === "scenario" ? runWith(crew, plan, hooks) : runPasses(crew, plan, hooks);
}

async function runPasses(crew: Crew, plan: StressPlan, hooks: StressHooks): Promise<StressResult> {
  const began = performance.now();
  let sum: StressResult | undefined;
  for (;;) {
    const elapsed = (performance.now() - began) / 1000;
    const seconds = plan.seconds === null ? null : Math.max(SHORTEST_PASS_SECONDS, plan.seconds - elapsed);
    const pass = await runWith(
      crew,
      { ...plan, seconds },
      {
        ...hooks,
        onProgress: (_, note) => {
          const whole = plan.seconds ?? Infinity;
          hooks.onProgress?.((performance.now() - began) / 1000 / whole, note);
        },
      },
    );
    sum = sum === undefined ? pass : joined(sum, pass);
    const isWell = pass.outcome === "completed" && pass.violations.length === 0 && pass.operations > 0;
    if (!isWell || isOver(plan, sum, began)) return sum;
  }
}

/** A bound of operations holds on the average of all vCPUs: how they share a trace was decided when it was recorded. */
function isOver(plan: StressPlan, { operations }: StressResult, began: number): boolean {
  if (plan.seconds !== null) {
    return (performance.now() - began) / 1000 > plan.seconds - SHORTEST_PASS_SECONDS;
  }
  return operations >= (plan.operations ?? 0) * plan.config.vcpus;
}

/** Two passes as one result: what is counted is added up, how it ended is the later one's. */
function joined(first: StressResult, second: StressResult): StressResult {
  const seconds = first.seconds + second.seconds;
  const operations = first.operations + second.operations;
  const faults = first.faults + second.faults;
  const waits = [...first.waits, ...second.waits];
  return {
    ...second,
    seconds,
    parkedSeconds: first.parkedSeconds + second.parkedSeconds,
    audits: first.audits + second.audits,
    tornDown: first.tornDown && second.tornDown,
    operations,
    faults,
    operationsPerSecond: rate(operations, seconds),
    faultsPerSecond: rate(faults, seconds),
    vcpus: second.vcpus.map((row, index) => joinedVcpu(first.vcpus[index] ?? row, row, seconds)),
    counters: Object.fromEntries(
      Object.entries(second.counters).map(([name, value]) => [name, value + (first.counters[name] ?? 0)]),
    ),
    locks: finishedLocks(
      second.locks.map((row, index) => joinedLock(first.locks[index] ?? row, row)),
      waits,
      { seconds, threads: second.vcpus.length },
    ),
    waits,
    lockPlaces: { ...first.lockPlaces, ...second.lockPlaces },
    violations: [...first.violations, ...second.violations],
  };
}

function joinedVcpu(first: VcpuRow, second: VcpuRow, seconds: number): VcpuRow {
  const operations = first.operations + second.operations;
  const faults = first.faults + second.faults;
  return {
    ...second,
    operations,
    faults,
    operationsPerSecond: rate(operations, seconds),
    faultsPerSecond: rate(faults, seconds),
  };
}

/** The larger of two percentiles is one of both together, if not the least. */
function joinedLock(first: LockRow, second: LockRow): LockRow {
  const contentions = first.contentions + second.contentions;
  const holdSamples = first.holdSamples + second.holdSamples;
  const waittimeTotal = first.waittimeTotal + second.waittimeTotal;
  const holdtimeTotal = first.holdtimeTotal + second.holdtimeTotal;
  const ownerChanges = first.ownerChanges + second.ownerChanges;
  return {
    ...second,
    conBounces: contentions,
    contentions,
    waittimeMin: least([first.contentions, first.waittimeMin], [second.contentions, second.waittimeMin]),
    waittimeMax: Math.max(first.waittimeMax, second.waittimeMax),
    waittimeTotal,
    waittimeAvg: rate(waittimeTotal, contentions),
    waittimeP99: Math.max(first.waittimeP99, second.waittimeP99),
    acqBounces: ownerChanges,
    acquisitions: first.acquisitions + second.acquisitions,
    holdSamples,
    holdtimeMin: least([first.holdSamples, first.holdtimeMin], [second.holdSamples, second.holdtimeMin]),
    holdtimeMax: Math.max(first.holdtimeMax, second.holdtimeMax),
    holdtimeTotal,
    holdtimeAvg: rate(holdtimeTotal, holdSamples),
    ownerChanges,
  };
}

/** The least of two minima, of which one of nothing is 0 and does not count. */
function least(...minima: readonly (readonly [of: number, minimum: number])[]): number {
  const real = minima.filter(([of]) => of > 0).map(([, minimum]) => minimum);
  return real.length === 0 ? 0 : Math.min(...real);
}
