/** Which machines an ablation compares: the slide's two, each optimisation alone, all but one, and one after another. */
import { PRESETS, SWITCH_NAMES } from "../../hypervisor/machine-config.ts";
import type { SwitchName, Switches } from "../../hypervisor/machine-config.ts";
import { recordOf } from "../../memory/records.ts";
import type { AblateSettings, AblationGroup } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
import { loadTrace } from "../replay/load-trace.ts";
import { readCostModel } from "../simulate/cost-model.ts";
import type { CostModel } from "../simulate/cost-model.ts";
import { planSimulate } from "../simulate/simulate-plan.ts";
import type { SimulateRequest } from "../simulate/simulate-plan.ts";
import type { PointTask } from "../simulate/point-task.ts";
import { allowedNames, commandLine, wholeNumber } from "../usage.ts";
import { HISTORY, PUBLISHED, SLIDE } from "./history.ts";

/** Workloads: scenarios that are like what was measured in their time. */
export const WORKLOADS = ["office", "build"] as const;

/** An ablation as people ask for it: texts of the command line. */
export interface AblateRequest {
  readonly workload?: string | undefined;
  readonly vcpus?: string | undefined;
  readonly cost?: string | undefined;
  readonly milliseconds?: string | undefined;
  readonly seed?: string | undefined;
  readonly guest?: string | undefined;
}

/** A machine to be measured. */
export interface AblationVariant {
  readonly group: AblationGroup;
  readonly name: string;
  readonly switches: Switches;
}

/** What all machines do: a scenario in virtual time, or a recorded guest. */
export type AblationWork =
  | {
      readonly kind: "scenario";
      /** Of each variant. */
      readonly tasks: readonly PointTask[];
      /** A pair for each line of the published table, before and after; none unless the workload is what it is about. */
      readonly published: readonly PointTask[];
    }
  | { readonly kind: "trace"; readonly file: string; readonly model: CostModel };

/** An ablation with nothing left open. */
export interface AblatePlan {
  readonly settings: AblateSettings;
  readonly variants: readonly AblationVariant[];
  readonly work: AblationWork;
  /** The command that repeats it. */
  readonly command: string;
}

const VCPUS = { min: 1, max: 16 };
const DEFAULT_MILLISECONDS = "10";
const DEFAULT_COST = "core2-2007";

/** Plans what is asked for. Throws UsageError for everything that cannot be. */
export async function planAblate(request: AblateRequest): Promise<AblatePlan> {
  const { workload = "" } = request;
  if (workload.endsWith(".trace.gz")) return planOfTrace(workload, request);
  const scenario = WORKLOADS.find((name) => name === workload);
  if (scenario === undefined)
    throw new UsageError(
      `--workload wants ${allowedNames(WORKLOADS)} or a recording (x.trace.gz), got "${workload}"`,
    );
  const vcpus = String(wholeNumber("--vcpus", request.vcpus ?? "1", VCPUS));
  const { milliseconds = DEFAULT_MILLISECONDS, cost = DEFAULT_COST, seed, guest } = request;
  const wish: SimulateRequest = { scenario, vcpus, cost, milliseconds, seed, guest };
  const { settings, tasks } = await planSimulate(wish);
  const [task] = tasks;
  if (task === undefined) throw new Error("a plan without a point");
  const drawn = String(settings.seed);
  const words = ["umbra", "ablate", "--workload", workload, "--vcpus", vcpus, "--cost", cost];
  words.push("--milliseconds", milliseconds, "--seed", drawn, "--guest", settings.guest);
  const variants = allVariants();
  return {
    settings: {
      workload,
      vcpus: Number(vcpus),
      guest: settings.guest,
      seed: settings.seed,
      milliseconds: settings.milliseconds,
      cost: settings.cost,
      options: settings.options,
    },
    variants,
    work: {
      kind: "scenario",
      tasks: variants.map(({ switches }) => withSwitches(task, switches)),
      published: scenario === "build" ? await publishedTasks({ ...wish, seed: drawn }) : [],
    },
    command: commandLine(words),
  };
}

/** A recording says by itself what is done, by how many vCPUs and with which tables. */
function planOfTrace(file: string, request: AblateRequest): AblatePlan {
  for (const option of ["vcpus", "milliseconds", "seed", "guest"] as const)
    if (request[option] !== undefined) throw new UsageError(`--${option}: a recording has its own`);
  const { cost = DEFAULT_COST } = request;
  const model = readCostModel(cost);
  const { cpus } = loadTrace(file);
  return {
    settings: {
      workload: file,
      vcpus: cpus,
      guest: "recorded",
      seed: null,
      milliseconds: null,
      cost: model.name,
      options: {},
    },
    variants: allVariants(),
    work: { kind: "trace", file, model },
    command: commandLine(["umbra", "ablate", "--workload", file, "--cost", cost]),
  };
}

/** All machines. Some are the same by several names: each is there once for every name. */
export function allVariants(): AblationVariant[] {
  const all = HISTORY.map(({ name }) => name);
  const { talk } = PRESETS;
  return [
    { group: "slide", name: "A: talk-before", switches: PRESETS["talk-before"] },
    { group: "slide", name: `A with ${SLIDE.join(" and ")}`, switches: switchesOn(SLIDE) },
    {
      group: "slide",
      name: `B without ${SLIDE.join(" and ")}`,
      switches: switchesOn(SWITCH_NAMES.filter((name) => talk[name] && !SLIDE.includes(name))),
    },
    { group: "slide", name: "B: talk", switches: talk },
    ...all.map((name) => ({ group: "alone" as const, name, switches: switchesOn([name]) })),
    ...all.map((name) => ({
      group: "all but one" as const,
      name,
      switches: switchesOn(all.filter((other) => other !== name)),
    })),
    ...HISTORY.map(({ name }, index) => ({
      group: "history" as const,
      name,
      switches: switchesOn(all.slice(0, index + 1)),
    })),
  ];
}

/** On the machine of the published benchmark, whatever the rest is measured on. */
async function publishedTasks(wish: SimulateRequest): Promise<PointTask[]> {
  const after = PRESETS["xen-3.3"];
  const before = { ...after, "out-of-sync": false };
  const rows = PUBLISHED.map(async ({ guest, vcpus }) => {
    const { tasks } = await planSimulate({ ...wish, guest, vcpus: String(vcpus), cost: DEFAULT_COST });
    return tasks.flatMap((task) => [withSwitches(task, before), withSwitches(task, after)]);
  });
  return (await Promise.all(rows)).flat();
}

function withSwitches(task: PointTask, switches: Switches): PointTask {
  return { ...task, config: { ...task.config, switches } };
}

function switchesOn(names: readonly SwitchName[]): Switches {
  return recordOf(SWITCH_NAMES, (name) => names.includes(name));
}
