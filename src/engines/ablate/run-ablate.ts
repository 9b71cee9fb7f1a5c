/** An ablation: every machine of its plan in virtual time, all on the same work, and what each optimisation is worth. */
import type {
  AblateResult,
  AblationCount,
  AblationRow,
  PublishedRow,
  SimulatedPoint,
  SlideFinding,
} from "../../report/types.ts";
import { SWITCH_NAMES } from "../../hypervisor/machine-config.ts";
import { simulatePoints } from "../simulate/sweep.ts";
import type { SimulatedPoints, SweepHooks } from "../simulate/sweep.ts";
import type { PointTask } from "../simulate/point-task.ts";
import type { AblatePlan, AblationVariant } from "./ablate-plan.ts";
import { PUBLISHED } from "./history.ts";

type Answer = SimulatedPoints["answers"][number];

/** What each count of a row sums up, by names of counters. `lockHolds` is counted by the lock itself. */
const COUNTED: Readonly<Record<Exclude<AblationCount, "lockHolds">, readonly string[]>> = {
  exits: ["exits"],
  fastFaults: ["fault_fast_gnp", "fault_fast_mmio"],
  slowFaults: ["guest_walk"],
  emulations: ["emulated_stores"],
  shadowsMade: ["hash_inserts"],
  flushes: ["flush_requests"],
};

/** Measures what is planned. */
export async function runAblate(plan: AblatePlan, hooks: SweepHooks = {}): Promise<AblateResult> {
  const { settings, variants, command } = plan;
  const tasks = [...plan.tasks, ...plan.published.map(({ task }) => task)];
  const unique = new Map(tasks.map((task) => [keyOf(task), task]));
  const { answers, outcome, reason } = await simulatePoints([...unique.values()], hooks);
  const answerOf = new Map([...unique.keys()].map((key, index) => [key, answers[index]]));
  const measured = plan.tasks.map((task) => answerOf.get(keyOf(task)));
  const rows = rowsOf(variants, measured);
  const outOfSync = publishedRows(plan, (task) => nanosOf(answerOf.get(keyOf(task))));
  return {
    engine: "ablate",
    command,
    settings,
    outcome,
    reason,
    signal: hooks.interruption?.aborted === true ? String(hooks.interruption.reason) : null,
    rows,
    slide: slideFinding(rows),
    outOfSync,
    hasPublishedOrder: outOfSync.length === PUBLISHED.length ? hasPublishedOrder(outOfSync) : null,
    brokenLaws: answers.flatMap((answer) => answer?.point.laws ?? []).filter(({ holds }) => !holds).length,
    violations: answers.flatMap((answer) => answer?.point.violations ?? []),
  };
}

/** Some machines are the same by several names, and are measured once. */
function keyOf({ guest, config, model }: PointTask): string {
  return JSON.stringify([guest, config.vcpus, model.name, config.switches]);
}

/** Virtual time that a vCPU took for an operation. */
function nanosOf(answer: Answer): number | null {
  if (answer === undefined || answer.point.operations === 0) return null;
  const { seconds, vcpus, operations } = answer.point;
  return (seconds * 1e9 * vcpus) / operations;
}

function rowsOf(variants: readonly AblationVariant[], answers: readonly Answer[]): AblationRow[] {
  const times = answers.map(nanosOf);
  // A has none of them, the last of all has every one.
  const [none = null] = times;
  const all = times.at(-1) ?? null;
  return variants.map(({ group, name, switches }, index) => {
    const own = times[index] ?? null;
    const isNext = group === "history" && variants[index - 1]?.group === group;
    const before = isNext ? (times[index - 1] ?? null) : none;
    return {
      group,
      name,
      on: SWITCH_NAMES.filter((each) => switches[each]),
      nanosPerOperation: own,
      // Of what is left out, the gain is what putting it back would save.
      gain: index === 0 ? null : group === "all but one" ? saved(own, all) : saved(before, own),
      perThousand: countsOf(answers[index]),
    };
  });
}

function saved(without: number | null, withIt: number | null): number | null {
  return without === null || withIt === null ? null : (without - withIt) / without;
}

function countsOf(answer: Answer): Record<AblationCount, number> {
  const thousands = (answer?.point.operations ?? 0) / 1000;
  const rate = (count: number): number => (thousands === 0 ? 0 : count / thousands);
  const counted = (count: keyof typeof COUNTED): number =>
    rate(COUNTED[count].reduce((sum, name) => sum + (answer?.counters[name] ?? 0), 0));
  return {
    exits: counted("exits"),
    fastFaults: counted("fastFaults"),
    slowFaults: counted("slowFaults"),
    lockHolds: rate(holdsOf(answer?.point)),
    emulations: counted("emulations"),
    shadowsMade: counted("shadowsMade"),
    flushes: counted("flushes"),
  };
}

function holdsOf(point: SimulatedPoint | undefined): number {
  return point?.locks.find(({ name }) => name === "paging")?.acquisitions ?? 0;
}

/** The first four rows are the slide's: A, A with the two, B without them, B. */
function slideFinding(rows: readonly AblationRow[]): SlideFinding | null {
  const times = rows.slice(0, 4).map(({ nanosPerOperation }) => nanosPerOperation ?? 0);
  const [a = 0, withTwo = 0, withoutTwo = 0, b = 0] = times;
  if (times.includes(0) || b >= a) return null;
  const broughtAlone = (a - withTwo) / (a - b);
  const lostWithout = (withoutTwo - b) / (a - b);
  return { gain: (a - b) / a, broughtAlone, lostWithout, holds: broughtAlone > 0.5 && lostWithout > 0.5 };
}

function publishedRows({ published }: AblatePlan, nanos: (task: PointTask) => number | null): PublishedRow[] {
  return PUBLISHED.flatMap(({ guest, vcpus, gain }, row) => {
    const timeOf = (wanted: boolean): number | null => {
      const found = published.find((each) => each.row === row && each.isAfter === wanted);
      return found === undefined ? null : nanos(found.task);
    };
    const [before, after] = [timeOf(false), timeOf(true)];
    if (before === null || after === null) return [];
    return [{ guest, vcpus, before, after, gain: (before - after) / before, published: gain }];
  });
}

function hasPublishedOrder(rows: readonly PublishedRow[]): boolean {
  const order = rows.toSorted((one, other) => other.published - one.published);
  return order.every(({ gain }, index) => index === 0 || gain <= (order[index - 1]?.gain ?? 0));
}
