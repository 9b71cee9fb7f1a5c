/**
 * The same scenario on real threads, for numbers of vCPUs that there are cores for: what stands beside the simulated points.
 * With fewer cores than vCPUs a spinning waiter can keep the holder from running, which no simulated machine does (pitfall 36).
 */
/* oxlint-disable no-await-in-loop -- a run has the cores to itself */
import { availableParallelism } from "node:os";
import type { RealPoint } from "../../report/types.ts";
import { runStress } from "../stress/engine.ts";
import { planStress } from "../stress/plan.ts";
import type { SimulatePlan } from "./simulate-plan.ts";
import type { SweepHooks } from "./sweep.ts";

/** Runs each simulated point that there are cores for, one after the other: they need all cores. */
export async function realPoints(
  { tasks, request, settings }: SimulatePlan,
  seconds: number,
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
      set: [...(request.set ?? []), `lock=${config.lockKind}`],
    });
    const result = await runStress(
      plan,
      hooks.interruption === undefined ? {} : { interruption: hooks.interruption },
    );
    const { locks, outcome, violations, command, operationsPerSecond } = result;
    points.push({
      vcpus: config.vcpus,
      lock: config.lockKind,
      command,
      outcome,
      violations,
      throughput: operationsPerSecond,
      waitingShare: locks.reduce((sum, { waitingShare }) => sum + waitingShare, 0),
      utilisation: locks.find(({ name }) => name === "paging")?.utilisation ?? 0,
    });
    if (outcome !== "completed") break;
  }
  return points;
}
