/**
 * What becomes of a sweep when a cost is half as high, or half as high again (concurrency pitfall 40): every cost on which
 * vCPUs spend time worth speaking of is changed alone, and every point simulated anew.
 */
import { COUNTER_NAMES } from "../../memory/counters.ts";
import type { SensitivityRow, SimulatedPoint } from "../../report/types.ts";
import { COST_NAMES } from "./cost-model.ts";
import type { CostModel } from "./cost-model.ts";
import type { PointTask } from "./point-task.ts";
import { isLockTheBottleneck } from "./scaling.ts";

/** A cost matters if at some point this part of the vCPUs' time or more goes into it. */
const MATTERS = 0.02;
const FACTORS = [0.5, 1.5] as const;

/** What time is spent on, as points name it, by the costs that it is made of. */
const MADE_OF: Readonly<Record<string, readonly string[]>> = {
  "own cache": ["hit", "atomic"],
  invalidation: ["invalidation"],
  "another's cache": ["transfer"],
  "shared level": ["sharedLevel"],
  memory: ["memory"],
  "queue for a line": ["occupancy"],
  "guest operation": ["operation"],
  waking: ["wake"],
  blocked: ["pause", "wakeup"],
};

/** One cost that is changed. */
export interface Change {
  readonly cost: string;
  readonly factor: number;
}

/** The changes that are worth a try: of costs that matter at some point, and are not 0. */
export function changesWorthTrying(points: readonly SimulatedPoint[], model: CostModel): Change[] {
  const names = points.flatMap(({ spent }) =>
    spent.filter(({ share }) => share >= MATTERS).flatMap(({ name }) => MADE_OF[name] ?? [name]),
  );
  const spentOn = new Set<string>(names);
  const costs = [...COST_NAMES, ...COUNTER_NAMES].filter(
    (name) => spentOn.has(name) && costIn(model, name) !== 0,
  );
  return costs.flatMap((cost) => FACTORS.map((factor) => ({ cost, factor })));
}

/** The model with one cost changed, in whole nanoseconds. */
export function changedModel(model: CostModel, { cost, factor }: Change): CostModel {
  const value = Math.round(costIn(model, cost) * factor);
  if (cost in model.nanos) return { ...model, nanos: { ...model.nanos, [cost]: value } };
  return { ...model, counters: { ...model.counters, [cost]: value } };
}

/** Every task with every change, the tasks of each change together. */
export function changedTasks(tasks: readonly PointTask[], changes: readonly Change[]): PointTask[] {
  return changes.flatMap((change) =>
    tasks.map((task) => ({ ...task, model: changedModel(task.model, change) })),
  );
}

/** What one change does to the points of each design. Points that there are not on both sides are left out. */
export function sensitivityRows(
  { cost, factor }: Change,
  before: readonly SimulatedPoint[],
  after: readonly SimulatedPoint[],
): SensitivityRow[] {
  return [...new Set(before.map(({ design }) => design))].flatMap((design) => {
    const pairs = before
      .filter((point) => point.design === design && point.reason === null && point.throughput > 0)
      .flatMap((point) => {
        const changed = after.find((each) => each.design === design && each.vcpus === point.vcpus);
        return changed === undefined || changed.reason !== null ? [] : [{ point, changed }];
      })
      .toSorted((a, b) => a.point.vcpus - b.point.vcpus);
    const last = pairs.at(-1);
    if (last === undefined) return [];
    return {
      cost,
      factor,
      design,
      vcpus: last.point.vcpus,
      throughput: last.changed.throughput / last.point.throughput,
      answerChangesAt: pairs
        .filter(({ point, changed }) => isLockTheBottleneck(point) !== isLockTheBottleneck(changed))
        .map(({ point }) => point.vcpus),
    };
  });
}

function costIn({ nanos, counters }: CostModel, name: string): number {
  const all: Readonly<Record<string, number | undefined>> = { ...counters, ...nanos };
  return all[name] ?? 0;
}
