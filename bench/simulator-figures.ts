/** What the simulator does in a second of one core, and how that depends on the number of vCPUs: the table's third part. */
import { runPoint } from "../src/engines/simulate/run-point.ts";
import { planSimulate } from "../src/engines/simulate/simulate-plan.ts";
import type { LockKind } from "../src/locks/gate.ts";

/** One row of the table. */
export interface SimulatorRow {
  readonly name: string;
  readonly unit: "events/s" | "times";
  readonly value: number;
  readonly target: number;
  readonly met: boolean;
}

const FEW = 8;
const MANY = 256;
const EVENTS_TARGET = 2_000_000;
const COST_TARGET = 1.5;
/** Others only slow a round: the fastest counts. The first ones warm the compiler up. */
const ROUNDS = 5;
const MILLISECONDS = "2";

/** Both rows of a kind of lock, measured in this process alone: accesses and waits simulated, by CPU time. */
export async function measureSimulator(lock: LockKind): Promise<SimulatorRow[]> {
  const request = { scenario: "disjoint-spaces", vcpus: `${String(FEW)},${String(MANY)}`, lock, seed: "1" };
  const { tasks } = await planSimulate({ ...request, milliseconds: MILLISECONDS });
  const costs = tasks.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round++)
    for (const [index, task] of tasks.entries()) {
      const answer = await runPoint(task);
      if ("refused" in answer) throw new Error(answer.refused);
      costs[index] = Math.min(costs[index] ?? Infinity, answer.cpuSeconds / answer.point.events);
    }
  const [few = Infinity, many = Infinity] = costs;
  return rows(lock, few, many);
}

/** The rows for two costs of an event, in seconds. */
export function rows(lock: LockKind, few: number, many: number): SimulatorRow[] {
  const value = Math.round(1 / few);
  const ratio = Math.round((100 * many) / few) / 100;
  const name = `disjoint-spaces, ${lock}`;
  return [
    {
      name: `${name}: ${String(FEW)} vCPUs`,
      unit: "events/s",
      value,
      target: EVENTS_TARGET,
      met: value >= EVENTS_TARGET,
    },
    {
      name: `${name}: cost of an event at ${String(MANY)} vCPUs by that at ${String(FEW)}, at most`,
      unit: "times",
      value: ratio,
      target: COST_TARGET,
      met: ratio <= COST_TARGET,
    },
  ];
}
