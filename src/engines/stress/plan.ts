/** What a stress run will do, worked out from what people wrote: every value checked, every default filled in. */
import { randomInt } from "node:crypto";
import { fewerVcpus, machineWish } from "../../guest/scenario.ts";
import type { GuestFormat, Scenario, ScenarioOptions } from "../../guest/scenario.ts";
import type { MachineConfig } from "../../hypervisor/machine-config.ts";
import { PAGE_BYTES } from "../../memory/units.ts";
import type { RunSettings } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
import {
  DEFAULT_PRESET,
  machineRequest,
  presetName,
  requestedMachine,
  SETTING_NAMES,
  settingsOf,
} from "../machine-settings.ts";
import type { MachineRequest } from "../machine-settings.ts";
import { WATCH_MODES } from "./watchpoints.ts";
import type { WatchMode } from "./watchpoints.ts";
import { loadTrace } from "../replay/load-trace.ts";
import type { LoadedTrace } from "../replay/load-trace.ts";
import { isTraceFile, loadScenario } from "../scenario-files.ts";
import type { LoadedScenario } from "../scenario-files.ts";
import { guestOf, scenarioOptions } from "../scenario-options.ts";
import { allowedNames, commandLine, decimalNumber, firstLine, wholeNumber } from "../usage.ts";

/** A run as people ask for it: texts of the command line. */
export interface StressRequest {
  /** Name of a bundled scenario, or path of a file: a scenario or a trace. */
  readonly scenario: string;
  readonly vcpus?: string | undefined;
  readonly seconds?: string | undefined;
  readonly ops?: string | undefined;
  readonly seed?: string | undefined;
  readonly guest?: string | undefined;
  readonly preset?: string | undefined;
  readonly set?: readonly string[] | undefined;
  /** off, light or heavy. */
  readonly watch?: string | undefined;
  /** A second preset to compare with. */
  readonly vs?: string | undefined;
}

/** A scenario with its options, for one guest format. */
export interface ScenarioSource {
  readonly kind: "scenario";
  readonly loaded: LoadedScenario;
  readonly guest: GuestFormat;
  readonly options: ScenarioOptions;
}

/** A recorded guest, to be replayed again and again. */
export interface TraceSource {
  readonly kind: "trace";
  readonly trace: LoadedTrace;
}

/** A run with nothing left open. */
export interface StressPlan {
  /** What runs on the vCPUs. */
  readonly source: ScenarioSource | TraceSource;
  /** What it is about, in one sentence without a full stop. */
  readonly about: string;
  readonly config: MachineConfig;
  readonly seed: number;
  readonly seconds: number | null;
  readonly operations: number | null;
  /** How often cells are watched for races. */
  readonly watch: WatchMode;
  readonly settings: RunSettings;
  /** The command that repeats the run. */
  readonly command: string;
}

const DEFAULT_SECONDS = 10;
const SECONDS = { min: 0.1, max: 7 * 24 * 3600 };
const OPERATIONS = { min: 1, max: 2 ** 31 - 1 };
const SEED = { min: 0, max: 2 ** 32 - 1 };

type Assignments = readonly (readonly [name: string, value: string])[];
type Sourced = Pick<StressPlan, "source" | "about" | "config"> &
  Pick<RunSettings, "scenario" | "guest" | "options">;

/** Plans the run that is asked for. Throws UsageError for everything that cannot be. */
export async function planStress(request: StressRequest): Promise<StressPlan> {
  const preset = presetName(request.preset ?? DEFAULT_PRESET);
  if (request.vs !== undefined) presetName(request.vs, "--vs");
  const limit = limitOf(request);
  const seed = request.seed === undefined ? randomInt(2 ** 31) : wholeNumber("--seed", request.seed, SEED);
  const { request: machine, others } = machineRequest(preset, request.set ?? []);
  const sourced = isTraceFile(request.scenario)
    ? traceOf(request, machine, others)
    : await scenarioOf(request, machine, others);
  const { source, about, config } = sourced;
  const settings: RunSettings = {
    scenario: sourced.scenario,
    guest: sourced.guest,
    vcpus: config.vcpus,
    seed,
    ...limit,
    preset,
    switches: config.switches,
    machine: settingsOf(config),
    options: sourced.options,
  };
  const watch = watchMode(request.watch ?? "off");
  const command = commandOf(request, settings, source);
  return { source, about, config, seed, ...limit, watch, settings, command };
}

/** The same run with another preset's switches; switches that were set one by one stay set. */
export function withPreset(plan: StressPlan, request: StressRequest, preset: string): StressPlan {
  const { request: machine } = machineRequest(presetName(preset), request.set ?? []);
  const config = { ...plan.config, switches: machine.switches };
  return { ...plan, config, settings: { ...plan.settings, preset, switches: config.switches } };
}

async function scenarioOf(
  request: StressRequest,
  machine: MachineRequest,
  others: Assignments,
): Promise<Sourced> {
  const loaded = await loadScenario(request.scenario);
  const { scenario } = loaded;
  const { name, about } = scenario;
  const guest = guestOf(scenario, request.guest);
  const vcpus = vcpusOf(scenario, request.vcpus);
  const options = scenarioOptions(scenario, others, SETTING_NAMES);
  const config = requestedMachine(machine, { vcpus, ...wishOf(scenario, vcpus, options) });
  return {
    source: { kind: "scenario", loaded, guest, options },
    about,
    config,
    scenario: name,
    guest,
    options,
  };
}

/** A trace brings its own vCPUs and its own tables. */
function traceOf(request: StressRequest, machine: MachineRequest, others: Assignments): Sourced {
  const { scenario: file, guest, vcpus } = request;
  if (guest !== undefined) throw new UsageError(`--guest is for scenarios: ${file} is a recorded guest`);
  if (vcpus !== undefined)
    throw new UsageError(`--vcpus is for scenarios: ${file} has as many as were recorded`);
  const [other] = others;
  if (other !== undefined) {
    throw new UsageError(
      `--set ${other[0]}: there is no such option; there are ${allowedNames(SETTING_NAMES)}`,
    );
  }
  const trace = loadTrace(file);
  const config = requestedMachine(machine, { vcpus: trace.cpus, ramPages: trace.ramBytes / PAGE_BYTES });
  const about = "a recorded guest, again and again from its first record";
  return { source: { kind: "trace", trace }, about, config, scenario: file, guest: "recorded", options: {} };
}

function watchMode(name: string): WatchMode {
  const found = WATCH_MODES.find((each) => each === name);
  if (found !== undefined) return found;
  throw new UsageError(`--watch wants ${allowedNames(WATCH_MODES)}, got "${name}"`);
}

function limitOf({ seconds, ops }: StressRequest): Pick<StressPlan, "seconds" | "operations"> {
  if (ops !== undefined && seconds !== undefined) {
    throw new UsageError("--seconds and --ops exclude each other: a run ends by time or by operations");
  }
  if (ops !== undefined) return { seconds: null, operations: wholeNumber("--ops", ops, OPERATIONS) };
  return {
    seconds: seconds === undefined ? DEFAULT_SECONDS : decimalNumber("--seconds", seconds, SECONDS),
    operations: null,
  };
}

function vcpusOf(scenario: Scenario, wanted: string | undefined): number {
  return wanted === undefined
    ? Math.min(scenario.vcpus.default, fewerVcpus(scenario).max)
    : wholeNumber(`--vcpus of ${scenario.name}`, wanted, fewerVcpus(scenario));
}

function wishOf(
  scenario: Scenario,
  vcpus: number,
  options: ScenarioOptions,
): Partial<MachineConfig> & Pick<MachineConfig, "ramPages"> {
  try {
    return machineWish(scenario, vcpus, options);
  } catch (error) {
    throw new UsageError(`scenario ${scenario.name}: its machine cannot be sized: ${firstLine(error)}`, {
      cause: error,
    });
  }
}

function commandOf(request: StressRequest, settings: RunSettings, source: StressPlan["source"]): string {
  const words = ["umbra", "stress", request.scenario];
  if (source.kind === "scenario") words.push("--guest", settings.guest, "--vcpus", String(settings.vcpus));
  if (settings.operations !== null) words.push("--ops", String(settings.operations));
  if (settings.seconds !== null) words.push("--seconds", String(settings.seconds));
  words.push("--seed", String(settings.seed), "--preset", settings.preset);
  for (const each of request.set ?? []) words.push("--set", each);
  if (request.watch !== undefined) words.push("--watch", request.watch);
  if (request.vs !== undefined) words.push("--vs", request.vs);
  return commandLine(words);
}
