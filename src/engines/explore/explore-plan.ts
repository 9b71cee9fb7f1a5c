/** What an exploration will do, worked out from what people wrote: every value checked, every default filled in. */
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { fewerVcpus, machineWish } from "../../guest/scenario.ts";
import type { Scenario } from "../../guest/scenario.ts";
import { minimumPool } from "../../hypervisor/machine-config.ts";
import type { PresetName } from "../../hypervisor/machine-config.ts";
import type { ExploreSettings } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
import {
  DEFAULT_PRESET,
  machineRequest,
  presetName,
  refuseGranularity,
  requestedMachine,
  SETTING_NAMES,
  settingsOf,
} from "../machine-settings.ts";
import { loadScenario } from "../scenario-files.ts";
import { guestOf, scenarioOptions } from "../scenario-options.ts";
import { allowedNames, commandLine, decimalNumber, wholeNumber } from "../usage.ts";
import { importMutant } from "./load-world.ts";
import { bundledMutant, mutantUrl } from "./mutants/mutant-files.ts";
import { PATIENCE_SECONDS } from "./pulse.ts";
import { POINTS_MAX } from "./scheduler.ts";
import { assignmentsOf, readStressFile } from "./failures/stress-file.ts";
import { SYSTEMATIC, STRATEGY_NAMES } from "./strategies/catalogue.ts";
import type { StrategyName } from "./strategies/catalogue.ts";
import type { ScenarioTarget } from "./target.ts";
import type { TokenContent } from "./failures/token.ts";

/** An exploration as people ask for it: texts of the command line. */
export interface ExploreRequest {
  /** Name of a bundled scenario or of a mutant's, or path of a file with one. */
  readonly scenario: string;
  /** Explore the scenario as it is, not its small variant. */
  readonly isWhole?: boolean | undefined;
  readonly strategy?: string | undefined;
  readonly schedules?: string | undefined;
  readonly seconds?: string | undefined;
  readonly seed?: string | undefined;
  readonly vcpus?: string | undefined;
  readonly guest?: string | undefined;
  readonly preset?: string | undefined;
  readonly set?: readonly string[] | undefined;
  readonly rounds?: string | undefined;
  /** Name of a mutant, or path of its module. */
  readonly mutant?: string | undefined;
  readonly steps?: string | undefined;
  readonly workers?: string | undefined;
  /** Folder for failures. */
  readonly failures?: string | undefined;
  /** Go on after the first failure. */
  readonly keepGoing?: boolean | undefined;
}

/** An exploration with nothing left open. */
export interface ExplorePlan {
  readonly target: ScenarioTarget;
  readonly strategy: StrategyName;
  readonly seed: number;
  /** Executions, at most. */
  readonly schedules: number | null;
  readonly seconds: number | null;
  readonly workers: number;
  /** Seconds that a worker may be between two shared accesses. */
  readonly patience: number;
  readonly failures: string;
  readonly keepsGoing: boolean;
  readonly settings: ExploreSettings;
  /** What a failure's token says of the target. */
  readonly token: Pick<TokenContent, "scenario" | "settings">;
  /** The command that repeats it. */
  readonly command: string;
}

const DEFAULT_SECONDS = 10;
const SECONDS = { min: 0.1, max: 7 * 24 * 3600 };
const SCHEDULES = { min: 1, max: 2 ** 31 - 1 };
const SEED = { min: 0, max: 2 ** 32 - 1 };
const ROUNDS = { min: 1, max: 1000 };
const STEPS = { min: 1, max: POINTS_MAX };
const DEFAULT_POINTS_MAX = 200_000;
/** Small, so that entries are evicted and audits are quick. */
const SMALL_TLB = { tlbSets: 4, tlbWays: 2 };

/** Plans what is asked for. Throws UsageError for everything that cannot be. */
export async function planExplore(request: ExploreRequest): Promise<ExplorePlan> {
  const strategy = strategyOf(request.strategy ?? "portfolio");
  const limits = limitsOf(request);
  const preset = presetName(request.preset ?? DEFAULT_PRESET);
  const { name, target, isAlone } = await targetOf(request, preset);
  const { guest, config, seed, rounds, pointsMax, options } = target;
  const { vcpus, switches } = config;
  const mutant = request.mutant ?? null;
  const machine = settingsOf(config);
  const run = { guest, vcpus, preset, mutant, seed, rounds };
  const settings = { scenario: name, ...run, strategy, ...limits, pointsMax, switches, machine, options };
  return {
    target,
    strategy,
    seed,
    ...limits,
    workers: SYSTEMATIC.has(strategy) || isAlone ? 1 : workersOf(request),
    patience: PATIENCE_SECONDS,
    failures: request.failures ?? "failures",
    keepsGoing: request.keepGoing === true,
    settings,
    token: {
      scenario: request.scenario,
      settings: { ...run, isWhole: request.isWhole === true, pointsMax, set: request.set ?? [] },
    },
    command: commandOf(request, settings),
  };
}

/** What is to be explored, the scenario's name, and whether one vCPU runs with nobody beside it. */
async function targetOf(
  request: ExploreRequest,
  preset: PresetName,
): Promise<{ readonly name: string; readonly target: ScenarioTarget; readonly isAlone: boolean }> {
  const { request: machine, others } = machineRequest(preset, request.set ?? []);
  const own = bundledMutant(request.scenario);
  const { url, scenario } = await loadScenario(own === undefined ? request.scenario : fileURLToPath(own));
  const mutant = request.mutant === undefined ? null : mutantUrl(request.mutant);
  // A mutant has a scenario of its own, which makes the machine ready for it.
  const isPrepared = own !== undefined || url === mutant;
  if (machine.paging === "hap" && (isPrepared || mutant !== null)) {
    const name = request.mutant ?? request.scenario;
    throw new UsageError(`paging=hap: ${name} is a bug of shadow mode, and its scenario is made for that`);
  }
  const machineOfMutant = isPrepared ? (await importMutant(url)).machine : undefined;
  const small = request.isWhole === true ? undefined : scenario.small;
  const vcpus = vcpusOf(scenario, small?.vcpus, request.vcpus);
  const chosen = Object.entries(small?.options ?? {}).map(([name, value]) => [name, String(value)] as const);
  const options = scenarioOptions(scenario, [...chosen, ...others], SETTING_NAMES);
  const wishes = { ...SMALL_TLB, ...machineWish(scenario, vcpus, options), ...small?.machine };
  const wish = { poolPages: minimumPool({ ...wishes, vcpus }), ...wishes, vcpus };
  // A mutant's own needs weigh more than anybody's wishes: on another machine it may be none.
  const config = { ...requestedMachine(machine, wish), ...machineOfMutant };
  refuseGranularity(config);
  const target: ScenarioTarget = {
    kind: "scenario",
    url,
    guest: guestOf(scenario, request.guest),
    config,
    options,
    seed: request.seed === undefined ? randomInt(2 ** 31) : wholeNumber("--seed", request.seed, SEED),
    rounds: wholeNumber("--rounds", request.rounds ?? "1", ROUNDS),
    mutant,
    isPrepared,
    freePoolPages: small?.freePoolPages === undefined ? null : small.freePoolPages * vcpus,
    pointsMax: wholeNumber("--steps", request.steps ?? String(DEFAULT_POINTS_MAX), STEPS),
  };
  return { name: scenario.name, target, isAlone: vcpus === 1 && scenario.toolstack === undefined };
}

function strategyOf(name: string): StrategyName {
  const found = STRATEGY_NAMES.find((each) => each === name);
  if (found !== undefined) return found;
  throw new UsageError(`--strategy wants ${allowedNames(STRATEGY_NAMES)}, got "${name}"`);
}

function limitsOf({ schedules, seconds }: ExploreRequest): Pick<ExplorePlan, "schedules" | "seconds"> {
  if (schedules !== undefined && seconds !== undefined)
    throw new UsageError("--seconds and --schedules exclude each other");
  if (schedules !== undefined)
    return { schedules: wholeNumber("--schedules", schedules, SCHEDULES), seconds: null };
  const limit = seconds === undefined ? DEFAULT_SECONDS : decimalNumber("--seconds", seconds, SECONDS);
  return { schedules: null, seconds: limit };
}

function workersOf({ workers }: ExploreRequest): number {
  const cores = availableParallelism();
  return workers === undefined ? cores : wholeNumber("--workers", workers, { min: 1, max: 256 });
}

function vcpusOf(scenario: Scenario, few: number | undefined, wanted: string | undefined): number {
  const { min, max } = scenario.vcpus;
  if (wanted === undefined) return few ?? Math.max(min, Math.min(2, max));
  return wholeNumber(`--vcpus of ${scenario.name}`, wanted, fewerVcpus(scenario));
}

/** Strategies that learn: what each worker does follows from the executions that it made itself. */
const LEARNING: ReadonlySet<string> = new Set<StrategyName>(["portfolio", "pct", "urw"]);

function commandOf(request: ExploreRequest, { seed, strategy, vcpus, guest }: ExploreSettings): string {
  const words = ["umbra", "explore", request.scenario, "--strategy", strategy, "--seed", String(seed)];
  words.push("--vcpus", String(vcpus), "--guest", guest);
  if (request.schedules !== undefined) words.push("--schedules", request.schedules);
  if (request.seconds !== undefined) words.push("--seconds", request.seconds);
  if (request.mutant !== undefined) words.push("--mutant", request.mutant);
  if (request.rounds !== undefined) words.push("--rounds", request.rounds);
  if (request.isWhole === true) words.push("--whole");
  if (request.preset !== undefined) words.push("--preset", request.preset);
  for (const each of request.set ?? []) words.push("--set", each);
  if (request.steps !== undefined) words.push("--steps", request.steps);
  if (request.workers !== undefined && LEARNING.has(strategy)) words.push("--workers", request.workers);
  if (request.keepGoing === true) words.push("--keep-going");
  return commandLine(words);
}

/** A search near what a stress run found: the same scenario, machine and random numbers. */
export async function requestNear(
  path: string,
  request: Omit<ExploreRequest, "scenario">,
): Promise<ExploreRequest> {
  const { scenario, result } = await readStressFile(path);
  const { settings } = result;
  return {
    ...request,
    scenario,
    isWhole: true,
    vcpus: request.vcpus ?? String(settings.vcpus),
    guest: request.guest ?? settings.guest,
    seed: request.seed ?? String(settings.seed),
    preset: request.preset ?? settings.preset,
    steps: request.steps ?? String(POINTS_MAX),
    set: [...assignmentsOf(settings), ...(request.set ?? [])],
  };
}
