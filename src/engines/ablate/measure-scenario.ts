/** Machines on which a scenario runs, in virtual time. Those that are the same by several names are simulated once. */
import { simulatePoints } from "../simulate/sweep.ts";
import type { SimulatedPoints, SweepHooks } from "../simulate/sweep.ts";
import type { PointTask } from "../simulate/point-task.ts";
import { perThousand } from "./measured.ts";
import type { Measured, Measurements } from "./measured.ts";

/** Measures every machine. */
export async function measureScenario(
  tasks: readonly PointTask[],
  hooks: SweepHooks = {},
): Promise<Measurements> {
  const unique = new Map(tasks.map((task) => [keyOf(task), task]));
  const { answers, outcome, reason } = await simulatePoints([...unique.values()], hooks);
  const answerOf = new Map([...unique.keys()].map((key, index) => [key, answers[index]]));
  const laws = answers.flatMap((answer) => answer?.point.laws ?? []);
  return {
    machines: tasks.map((task) => measuredOf(answerOf.get(keyOf(task)))),
    outcome,
    reason,
    violations: answers.flatMap((answer) => answer?.point.violations ?? []),
    brokenLaws: laws.filter(({ holds }) => !holds).length,
  };
}

function keyOf({ guest, config, model }: PointTask): string {
  return JSON.stringify([guest, config.vcpus, model.name, config.switches]);
}

/** Time is that of a vCPU for one operation. */
function measuredOf(answer: SimulatedPoints["answers"][number]): Measured | undefined {
  if (answer === undefined || answer.point.operations === 0) return undefined;
  const { seconds, vcpus, operations, locks } = answer.point;
  const holds = locks.find(({ name }) => name === "paging")?.acquisitions ?? 0;
  return {
    nanos: (seconds * 1e9 * vcpus) / operations,
    perThousand: perThousand(operations, answer.counters, holds),
  };
}
