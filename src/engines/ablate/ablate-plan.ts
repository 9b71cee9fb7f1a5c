/** Which machines an ablation compares: the slide's two, each optimisation alone, all but one, and one after another. */
import { PRESETS, SWITCH_NAMES } from "../../hypervisor/machine-config.ts";
import type { SwitchName, Switches } from "../../hypervisor/machine-config.ts";
import { recordOf } from "../../memory/records.ts";
import type { AblateSettings, AblationGroup } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
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

/** One machine of the published table, before or after. */
export interface PublishedTask {
  /** Index into `PUBLISHED`. */
  readonly row: number;
  readonly isAfter: boolean;
  readonly task: PointTask;
}

/** An ablation with nothing left open. */
export interface AblatePlan {
  readonly settings: AblateSettings;
  readonly variants: readonly AblationVariant[];
  /** Of each variant. */
  readonly tasks: readonly PointTask[];
  /** For the published table; empty unless the workload is the one that it is about. */
  readonly published: readonly PublishedTask[];
  /** The command that repeats it. */
  readonly command: string;
}

const VCPUS = { min: 1, max: 16 };
const DEFAULT_MILLISECONDS = "10";
const DEFAULT_COST = "core2-2007";

/** Plans what is asked for. Throws UsageError for everything that cannot be. */
export async function planAblate(request: AblateRequest): Promise<AblatePlan> {
  const workload = WORKLOADS.find((name) => name === request.workload);
  if (workload === undefined)
    throw new UsageError(
      `--workload wants ${allowedNames(WORKLOADS)}${request.workload === undefined ? "" : `, got "${request.workload}"`}`,
    );
  const vcpus = String(wholeNumber("--vcpus", request.vcpus ?? "1", VCPUS));
  const milliseconds = request.milliseconds ?? DEFAULT_MILLISECONDS;
  const cost = request.cost ?? DEFAULT_COST;
  const { seed, guest } = request;
  const wish: SimulateRequest = { scenario: workload, vcpus, cost, milliseconds, seed, guest };
  const { settings, tasks } = await planSimulate(wish);
  const [task] = tasks;
  if (task === undefined) throw new Error("a plan without a point");
  const variants = allVariants();
  const drawn = String(settings.seed);
  const words = ["umbra", "ablate", "--workload", workload, "--vcpus", vcpus, "--cost", cost];
  words.push("--milliseconds", milliseconds, "--seed", drawn, "--guest", settings.guest);
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
    tasks: variants.map(({ switches }) => withSwitches(task, switches)),
    published: workload === "build" ? await publishedTasks({ ...wish, seed: drawn }) : [],
    command: commandLine(words),
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
async function publishedTasks(wish: SimulateRequest): Promise<PublishedTask[]> {
  const after = PRESETS["xen-3.3"];
  const before = { ...after, "out-of-sync": false };
  const rows = PUBLISHED.map(async ({ guest, vcpus }, row) => {
    const { tasks } = await planSimulate({ ...wish, guest, vcpus: String(vcpus), cost: DEFAULT_COST });
    return tasks.flatMap((task): PublishedTask[] => [
      { row, isAfter: false, task: withSwitches(task, before) },
      { row, isAfter: true, task: withSwitches(task, after) },
    ]);
  });
  return (await Promise.all(rows)).flat();
}

function withSwitches(task: PointTask, switches: Switches): PointTask {
  return { ...task, config: { ...task.config, switches } };
}

function switchesOn(names: readonly SwitchName[]): Switches {
  return recordOf(SWITCH_NAMES, (name) => names.includes(name));
}
