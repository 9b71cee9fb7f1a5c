/** How often a workload does what costs something, counted by the simulator: the same accesses, and every counter. */
import { COUNTER_NAMES } from "../../memory/counters.ts";
import type { CounterName } from "../../memory/counters.ts";
import { RunError } from "../errors.ts";
import { COST_NAMES } from "../simulate/cost-model.ts";
import type { CostModel, CostName } from "../simulate/cost-model.ts";
import type { PointAnswer, PointTask } from "../simulate/point-task.ts";
import { simulatePoints } from "../simulate/sweep.ts";
import type { SweepHooks } from "../simulate/sweep.ts";
import type { Workload } from "./workloads.ts";

/** For each guest operation of a workload: how often each cost of the model is paid, and every counter counted. */
export interface Counts {
  readonly costs: Readonly<Partial<Record<CostName, number>>>;
  readonly counters: Readonly<Partial<Record<CounterName, number>>>;
}

type Answered = Extract<PointAnswer, { readonly point: unknown }>;

/**
 * What a line costs while lines are counted: so little that a guest comes round its memory in the time, since a line that is
 * touched for the first time is from memory, as it is not in a run of seconds.
 */
const LINE_NANOS = 10;

const COST_OF_SOURCE: Readonly<Record<string, CostName>> = {
  "own cache": "hit",
  invalidation: "invalidation",
  "another's cache": "transfer",
  "shared level": "sharedLevel",
  memory: "memory",
};

/** Counts of workloads, in their order. */
export async function countWorkloads(
  all: readonly Workload[],
  cache: CostModel["cache"],
  hooks: SweepHooks,
): Promise<Counts[]> {
  const found = new Map<Workload, Counts>();
  // A thread simulates one scenario.
  for (const url of new Set(all.map(({ task }) => task.url))) {
    const own = all.filter(({ task }) => task.url === url);
    // oxlint-disable-next-line no-await-in-loop -- each scenario has all cores
    const answers = await answersOf(own, cache, hooks);
    for (const [index, workload] of own.entries()) {
      const [atomics, fills] = [answers[2 * index], answers[2 * index + 1]];
      if (atomics !== undefined && fills !== undefined) found.set(workload, countsOf(atomics, fills));
    }
  }
  return all.flatMap((workload) => found.get(workload) ?? []);
}

/** Two answers for each workload: in the first a locked update costs a bit more than a line, in the second a fill does. */
async function answersOf(
  own: readonly Workload[],
  cache: CostModel["cache"],
  hooks: SweepHooks,
): Promise<(Answered | undefined)[]> {
  const tasks = own.flatMap(({ task }): PointTask[] => [
    { ...task, model: countingModel(cache, { atomic: 1 }) },
    { ...task, model: countingModel(cache, { fillLine: LINE_NANOS + 1 }) },
  ]);
  const { answers, outcome, reason } = await simulatePoints(tasks, hooks);
  if (outcome === "worker-died") throw new RunError(`a workload could not be counted: ${reason ?? ""}`);
  return [...answers];
}

function countingModel(cache: CostModel["cache"], changed: Partial<Record<CostName, number>>): CostModel {
  const lines = new Set<CostName>(["hit", "invalidation", "transfer", "sharedLevel", "memory", "fillLine"]);
  const nanos = Object.fromEntries(COST_NAMES.map((name) => [name, lines.has(name) ? LINE_NANOS : 0]));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every name is there
  return { name: "counting", cache, nanos: { ...nanos, ...changed } as CostModel["nanos"], counters: {} };
}

function countsOf(atomics: Answered, fills: Answered): Counts {
  const { point, counters } = fills;
  const perOperation = (count: number): number => count / point.operations;
  const filled = perOperation(beyondLines(fills));
  const costs: Partial<Record<CostName, number>> = {
    operation: 1,
    fillLine: filled,
    atomic: beyondLines(atomics) / atomics.point.operations,
  };
  for (const { name, count } of point.spent) {
    const cost = COST_OF_SOURCE[name];
    if (cost !== undefined) costs[cost] = perOperation(count) - (cost === "hit" ? filled : 0);
  }
  const counted: Partial<Record<CounterName, number>> = {};
  for (const name of COUNTER_NAMES) counted[name] = perOperation(counters[name] ?? 0);
  return { costs, counters: counted };
}

/** How often the bit more was paid. */
function beyondLines({ point }: Answered): number {
  const own = point.spent.find(({ name }) => name === "own cache");
  return own === undefined ? 0 : own.nanos - LINE_NANOS * own.count;
}
