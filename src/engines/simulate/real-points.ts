/**
 * The same scenario on real threads, for numbers of vCPUs that there are cores for: what stands beside the simulated points.
 * With fewer cores than vCPUs a spinning waiter can keep the holder from running, which no simulated machine does (pitfall 36).
 */
/* oxlint-disable no-await-in-loop -- a run has the cores to itself */
import { availableParallelism } from "node:os";
import type { PointErrors, RealPoint, SimulatedPoint } from "../../report/types.ts";
import { runStress } from "../stress/engine.ts";
import { planStress } from "../stress/plan.ts";
import { designName } from "./point.ts";
import type { SimulatePlan } from "./simulate-plan.ts";
import type { SweepHooks } from "./sweep.ts";

const NANOS = 1e9;

/** Runs each point that there are cores for, one after the other: they need all cores. Beside it the simulated one, if any. */
export async function realPoints(
  { tasks, request, settings }: SimulatePlan,
  { seconds, simulated }: { readonly seconds: number; readonly simulated: readonly SimulatedPoint[] },
  hooks: SweepHooks,
): Promise<RealPoint[]> {
  const points: RealPoint[] = [];
  const fitting = tasks.filter(({ config }) => config.vcpus <= availableParallelism());
  for (const { config, seed, guest } of fitting) {
    const plan = await planStress({
      scenario: request.scenario,
      vcpus: String(config.vcpus),
      seconds: String(seconds),
      seed: String(seed),
      guest,
      preset: settings.preset,
      set: [
        ...(request.set ?? []),
        `lock=${config.lockKind}`,
        ...(config.granularity === "page" ? ["granularity=page"] : []),
      ],
    });
    const result = await runStress(
      plan,
      hooks.interruption === undefined ? {} : { interruption: hooks.interruption },
    );
    const { locks, outcome, violations, command, operationsPerSecond } = result;
    const measured = {
      throughput: operationsPerSecond,
      waitingShare: locks.reduce((sum, { waitingShare }) => sum + waitingShare, 0),
      utilisation: locks.find(({ name }) => name === "paging")?.utilisation ?? 0,
    };
    const { vcpus, lockKind: lock, granularity } = config;
    const design = designName(config);
    const beside = simulated.find((point) => point.vcpus === vcpus && point.design === design);
    const errors = beside === undefined || beside.reason !== null ? null : pointErrors(beside, measured);
    points.push({ vcpus, granularity, lock, design, command, outcome, violations, ...measured, errors });
    if (outcome !== "completed") break;
  }
  return points;
}

type Compared = Pick<SimulatedPoint, "throughput" | "utilisation" | "vcpus" | "seconds" | "locks">;

/** How far a simulated point is off a real one. */
export function pointErrors(simulated: Compared, real: Pick<RealPoint, keyof PointErrors>): PointErrors {
  return {
    throughput: errorOf(simulated.throughput, real.throughput),
    waitingShare: errorOf(waitedShare(simulated), real.waitingShare),
    utilisation: errorOf(simulated.utilisation, real.utilisation),
  };
}

/** What waits took of the vCPUs' time. Threads do not time how they take a free lock, so it must not count here. */
function waitedShare({ locks, seconds, vcpus }: Compared): number {
  const waited = locks.reduce((sum, { waittimeTotal }) => sum + waittimeTotal, 0);
  return waited / (seconds * NANOS * vcpus);
}

function errorOf(simulated: number, real: number): number | null {
  return real === 0 ? null : simulated / real - 1;
}
