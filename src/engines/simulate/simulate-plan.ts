/** What a sweep will simulate, worked out from what people wrote: every value checked, every default filled in. */
import { randomInt } from "node:crypto";
import { machineWish } from "../../guest/scenario.ts";
import type { Scenario } from "../../guest/scenario.ts";
import type { SimulateSettings } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
import {
  DEFAULT_PRESET,
  GRANULARITIES,
  LOCK_KINDS,
  machineRequest,
  presetName,
  requestedMachine,
  SETTING_NAMES,
} from "../machine-settings.ts";
import { loadScenario } from "../scenario-files.ts";
import { guestOf, scenarioOptions } from "../scenario-options.ts";
import { allowedNames, commandLine, decimalNumber, firstLine, wholeNumber } from "../usage.ts";
import { readCostModel } from "./cost-model.ts";
import type { CostModel } from "./cost-model.ts";
import type { PointTask } from "./point-task.ts";

/** A sweep as people ask for it: texts of the command line. */
export interface SimulateRequest {
  readonly scenario: string;
  /** Numbers with commas between. */
  readonly vcpus?: string | undefined;
  /** Kinds of lock with commas between. */
  readonly lock?: string | undefined;
  /** Granularities of the shadow lock with commas between. */
  readonly granularity?: string | undefined;
  readonly cost?: string | undefined;
  readonly milliseconds?: string | undefined;
  readonly seed?: string | undefined;
  readonly guest?: string | undefined;
  readonly preset?: string | undefined;
  readonly set?: readonly string[] | undefined;
  /** Whether every cost that matters is changed by half, too. */
  readonly sensitivity?: boolean | undefined;
  /** Seconds for which each point that there are cores for is run on real threads, too. */
  readonly stress?: string | undefined;
}

/** A sweep with nothing left open. */
export interface SimulatePlan {
  readonly settings: SimulateSettings;
  readonly tasks: readonly PointTask[];
  readonly model: CostModel;
  readonly asksSensitivity: boolean;
  /** Seconds of each real point; null for none. */
  readonly realSeconds: number | null;
  readonly request: SimulateRequest;
  /** The command that repeats it. */
  readonly command: string;
}

const DEFAULT_VCPUS = "1,2,4,8";
const DEFAULT_MODEL = "current-server";
const DEFAULT_MILLISECONDS = "2";
const MILLISECONDS = { min: 0.01, max: 1000 };
const REAL_SECONDS = { min: 0.1, max: 3600 };
const SEED = { min: 0, max: 2 ** 32 - 1 };

/** Plans what is asked for. Throws UsageError for everything that cannot be. */
export async function planSimulate(request: SimulateRequest): Promise<SimulatePlan> {
  const preset = presetName(request.preset ?? DEFAULT_PRESET);
  const { request: machine, others } = machineRequest(preset, request.set ?? []);
  if (machine.lockKind !== undefined)
    throw new UsageError("--set lock: umbra simulate takes the kinds of lock to compare from --lock");
  if (machine.granularity !== undefined)
    throw new UsageError("--set granularity: umbra simulate takes those to compare from --granularity");
  const model = readCostModel(request.cost ?? DEFAULT_MODEL);
  const { url, scenario } = await loadScenario(request.scenario);
  const options = scenarioOptions(scenario, others, SETTING_NAMES);
  const milliseconds = decimalNumber(
    "--milliseconds",
    request.milliseconds ?? DEFAULT_MILLISECONDS,
    MILLISECONDS,
  );
  const seed = request.seed === undefined ? randomInt(2 ** 31) : wholeNumber("--seed", request.seed, SEED);
  const guest = guestOf(scenario, request.guest);
  const locks = namesOf("--lock", request.lock ?? "test-and-set", LOCK_KINDS);
  const granularities = namesOf("--granularity", request.granularity ?? "domain", GRANULARITIES);
  const counts = vcpusOf(scenario, request.vcpus ?? defaultVcpus(scenario));
  const designs = granularities.flatMap((granularity) =>
    locks.map((lockKind) => ({ ...machine, granularity, lockKind })),
  );
  const tasks = designs.flatMap((design) =>
    counts.map((vcpus): PointTask => {
      const config = requestedMachine(design, { vcpus, ...wishOf(scenario, vcpus, options) });
      return { url, guest, config, options, seed, windowNanos: Math.round(milliseconds * 1e6), model };
    }),
  );
  const settings: SimulateSettings = {
    scenario: scenario.name,
    guest,
    preset,
    seed,
    milliseconds,
    cost: model.name,
    nanos: model.nanos,
    counterNanos: model.counters,
    switches: machine.switches,
    options,
  };
  const command = commandOf(request, settings, { locks, granularities, counts });
  const realSeconds =
    request.stress === undefined ? null : decimalNumber("--stress", request.stress, REAL_SECONDS);
  const asksSensitivity = request.sensitivity === true;
  return { settings, tasks, model, asksSensitivity, realSeconds, request, command };
}

/** Of the powers of two that everybody compares, those that the scenario takes. */
function defaultVcpus({ vcpus: { min, max } }: Scenario): string {
  const fitting = DEFAULT_VCPUS.split(",").filter((count) => Number(count) >= min && Number(count) <= max);
  return fitting.length === 0 ? String(min) : fitting.join(",");
}

function vcpusOf(scenario: Scenario, text: string): number[] {
  const counts = text
    .split(",")
    .map((each) => wholeNumber(`--vcpus of ${scenario.name}`, each, scenario.vcpus));
  return [...new Set(counts)];
}

function namesOf<Name extends string>(flag: string, text: string, allowed: readonly Name[]): Name[] {
  return [...new Set(text.split(","))].map((name) => {
    const found = allowed.find((each) => each === name);
    if (found === undefined)
      throw new UsageError(`${flag} wants ${allowedNames(allowed)}, or several with commas, got "${name}"`);
    return found;
  });
}

function wishOf(
  scenario: Scenario,
  vcpus: number,
  options: PointTask["options"],
): ReturnType<typeof machineWish> {
  try {
    return machineWish(scenario, vcpus, options);
  } catch (error) {
    throw new UsageError(`scenario ${scenario.name}: cannot size its machine: ${firstLine(error)}`);
  }
}

function commandOf(
  request: SimulateRequest,
  { seed, milliseconds, guest }: SimulateSettings,
  lists: Readonly<Record<"locks" | "granularities", readonly string[]>> & {
    readonly counts: readonly number[];
  },
): string {
  const { locks, granularities, counts } = lists;
  const words = [
    "umbra",
    "simulate",
    request.scenario,
    "--vcpus",
    counts.join(","),
    "--lock",
    locks.join(","),
  ];
  if (request.granularity !== undefined) words.push("--granularity", granularities.join(","));
  words.push("--cost", request.cost ?? DEFAULT_MODEL, "--milliseconds", String(milliseconds));
  words.push("--seed", String(seed), "--guest", guest);
  if (request.preset !== undefined) words.push("--preset", request.preset);
  for (const each of request.set ?? []) words.push("--set", each);
  if (request.sensitivity === true) words.push("--sensitivity");
  if (request.stress !== undefined) words.push("--stress", request.stress);
  return commandLine(words);
}
