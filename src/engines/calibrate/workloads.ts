/**
 * What one vCPU is measured at: scenarios that together do everything that costs something. None of them is one of those by
 * which a calibrated model is judged (docs/cost-models.md), and with one vCPU nothing that two do to each other is in them.
 */
import type { PointTask } from "../simulate/point-task.ts";
import { planSimulate } from "../simulate/simulate-plan.ts";
import type { SimulateRequest } from "../simulate/simulate-plan.ts";
import { commandLine } from "../usage.ts";

type Choice = Pick<SimulateRequest, "scenario" | "guest" | "preset" | "set">;

const CHOICES: readonly Choice[] = [
  { scenario: "data-beside-pdpts", guest: "pae" },
  { scenario: "demand-paging", guest: "4level" },
  { scenario: "demand-paging", guest: "2level" },
  { scenario: "demand-paging", guest: "pae", preset: "talk-before" },
  { scenario: "exec-exit", guest: "4level" },
  { scenario: "exec-exit", guest: "2level" },
  { scenario: "linear-map-writes", guest: "4level" },
  { scenario: "linear-map-writes", guest: "pae" },
  { scenario: "locked-instructions", guest: "4level" },
  { scenario: "machine-code-pagetables", guest: "pae" },
  { scenario: "mmio-polling", guest: "4level" },
  { scenario: "mmio-polling", guest: "2level", preset: "talk-before" },
  { scenario: "mode-switches", guest: "4level" },
  { scenario: "not-present-churn", guest: "4level" },
  { scenario: "not-present-churn", guest: "2level", preset: "talk-before" },
  { scenario: "office", guest: "4level" },
  { scenario: "office", guest: "pae", preset: "xen-3.3" },
  { scenario: "root-switching", guest: "4level" },
  { scenario: "root-switching", guest: "2level" },
];

const SEED = "1";
/** Virtual time in which a workload's accesses and events are counted. */
const COUNTING_MS = "10";

/** A workload with nothing left open. */
export interface Workload {
  readonly name: string;
  /** The command that runs it by itself. */
  readonly command: string;
  readonly task: PointTask;
}

/** All workloads. */
export async function workloads(): Promise<Workload[]> {
  return Promise.all(CHOICES.map((choice) => workload(choice)));
}

async function workload(choice: Choice): Promise<Workload> {
  const { scenario, guest = "4level", preset = "talk" } = choice;
  const { tasks } = await planSimulate({ ...choice, vcpus: "1", seed: SEED, milliseconds: COUNTING_MS });
  const [task] = tasks;
  if (task === undefined) throw new Error("a plan without a point");
  const words = [
    "umbra",
    "stress",
    scenario,
    "--guest",
    guest,
    "--vcpus",
    "1",
    "--seed",
    SEED,
    "--preset",
    preset,
  ];
  return { name: `${scenario}, ${guest}, ${preset}`, command: commandLine(words), task };
}
