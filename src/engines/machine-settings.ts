/**
 * The settings of a machine as people write them: `--preset P` and `--set name=value`. Whatever machine the engines
 * make from the command line is resolved here, so that every command knows the same names and refuses the same values.
 */
import {
  machineConfig,
  minimumPool,
  PRESET_OUT_OF_SYNC_AFTER,
  PRESETS,
  SWITCHES,
  SWITCH_NAMES,
} from "../hypervisor/machine-config.ts";
import type { MachineConfig, PresetName, SwitchName } from "../hypervisor/machine-config.ts";
import { keysOf } from "../memory/records.ts";
import { UsageError } from "./errors.ts";
import { allowedNames, wholeNumber } from "./usage.ts";

/** The names of all presets. */
export const PRESET_NAMES: readonly PresetName[] = keysOf(PRESETS);

/** Preset of a run that names none. */
export const DEFAULT_PRESET: PresetName = "talk";

/** What `--preset` may be, for the help of every command that has it. */
export const PRESET_ABOUT = `an era: ${allowedNames(PRESET_NAMES)} (${DEFAULT_PRESET} unless said)`;

type Settings = Pick<
  MachineConfig,
  | "paging"
  | "lockKind"
  | "granularity"
  | "reuse"
  | "poolPages"
  | "tlbSets"
  | "tlbWays"
  | "structureCacheEntries"
  | "outOfSyncAfter"
  | "switches"
>;

/** What was asked of the machine; what is not here is at its default. */
export type MachineRequest = Partial<Settings> & Pick<Settings, "switches"> & { readonly preset: PresetName };

/** One setting, for `umbra list --options`. */
export interface SettingDeclaration {
  readonly name: string;
  /** What it may be. */
  readonly values: string;
  readonly default: string;
  readonly about: string;
}

interface Setting extends Omit<SettingDeclaration, "name"> {
  parse(name: string, value: string): Partial<Settings>;
  /** The setting of a machine, as text or number. */
  read(config: MachineConfig): string | number;
}

const POOL_PAGES_MAX = 1 << 18;
const TLB_SETS_MAX = 4096;
const TLB_WAYS_MAX = 64;
const STRUCTURE_CACHE_MAX = 1024;

const OUT_OF_SYNC_AFTER_MAX = 1024;

/** Every kind of lock. */
export const LOCK_KINDS = [
  "test-and-set",
  "ticket",
  "mcs",
  "futex",
] as const satisfies readonly MachineConfig["lockKind"][];
/** Every granularity of the shadow lock. */
export const GRANULARITIES = ["domain", "page"] as const satisfies readonly MachineConfig["granularity"][];
const PAGING_MODES = ["shadow", "hap"] as const satisfies readonly MachineConfig["paging"][];
const REUSE_ORDERS = [
  "first-in-first-out",
  "last-in-first-out",
] as const satisfies readonly MachineConfig["reuse"][];

const MACHINE_SETTINGS: Readonly<Record<string, Setting>> = {
  paging: {
    values: PAGING_MODES.join(" | "),
    default: "shadow",
    about:
      "paging assistance: shadows of the guest's tables, or hap: hardware walks the guest's own tables through those of the p2m",
    parse: (name, value) => ({ paging: oneOf(name, value, PAGING_MODES) }),
    read: (config) => config.paging,
  },
  lock: {
    values: LOCK_KINDS.join(" | "),
    default: "test-and-set",
    about: "how a lock decides who is next, and how the others wait: docs/locks.md",
    parse: (name, value) => ({ lockKind: oneOf(name, value, LOCK_KINDS) }),
    read: (config) => config.lockKind,
  },
  granularity: {
    values: GRANULARITIES.join(" | "),
    default: "domain",
    about:
      "one shadow lock for the domain, as Xen has it, or one that is also held in part, beside locks of single pages; " +
      "for shadow mode without out-of-sync: docs/per-page-locks.md",
    parse: (name, value) => ({ granularity: oneOf(name, value, GRANULARITIES) }),
    read: (config) => config.granularity,
  },
  reuse: {
    values: REUSE_ORDERS.join(" | "),
    default: "first-in-first-out",
    about: "the order in which freed frames and shadow pages are used again",
    parse: (name, value) => ({ reuse: oneOf(name, value, REUSE_ORDERS) }),
    read: (config) => config.reuse,
  },
  pool: {
    values: `pages, at least the machine's minimum, at most ${String(POOL_PAGES_MAX)}`,
    default: "1024, or the minimum",
    about:
      "pages of the shadow pool; the minimum is 128 a vCPU and a page for each MiB of guest memory (spec 3.6)",
    parse: (name, value) => ({ poolPages: integer(name, value, 1, POOL_PAGES_MAX) }),
    read: (config) => config.poolPages,
  },
  "tlb-sets": {
    values: `a power of two, at most ${String(TLB_SETS_MAX)}`,
    default: "64",
    about: "sets of each TLB",
    parse: (name, value) => ({ tlbSets: powerOfTwo(name, value, TLB_SETS_MAX) }),
    read: (config) => config.tlbSets,
  },
  "tlb-ways": {
    values: `1 to ${String(TLB_WAYS_MAX)}`,
    default: "8",
    about: "entries of each TLB set",
    parse: (name, value) => ({ tlbWays: integer(name, value, 1, TLB_WAYS_MAX) }),
    read: (config) => config.tlbWays,
  },
  "structure-cache": {
    values: `0 to ${String(STRUCTURE_CACHE_MAX)}`,
    default: "0",
    about: "entries of each paging-structure cache, 0 for none",
    parse: (name, value) => ({ structureCacheEntries: integer(name, value, 0, STRUCTURE_CACHE_MAX) }),
    read: (config) => config.structureCacheEntries,
  },
  "out-of-sync-after": {
    values: `1 to ${String(OUT_OF_SYNC_AFTER_MAX)}`,
    default: `${String(PRESET_OUT_OF_SYNC_AFTER[DEFAULT_PRESET])}; ${String(PRESET_OUT_OF_SYNC_AFTER.umbra)} under umbra`,
    about:
      "with out-of-sync: which store to a pagetable in a row, each page of demand paging beginning a new one, lets it go " +
      "out of sync; 1 is always, as in Xen, and the talk thought of about 8 (spec 7.3)",
    parse: (name, value) => ({ outOfSyncAfter: integer(name, value, 1, OUT_OF_SYNC_AFTER_MAX) }),
    read: (config) => config.outOfSyncAfter,
  },
};

/** Every name that `--set` knows, whatever the scenario. */
export const SETTING_NAMES: readonly string[] = [...SWITCH_NAMES, ...Object.keys(MACHINE_SETTINGS)];

/** Every setting that any machine has: its switches, then the rest. */
export function settingDeclarations(): SettingDeclaration[] {
  const switches = SWITCH_NAMES.map((name) => ({
    name,
    values: "on | off",
    default: PRESETS[DEFAULT_PRESET][name] ? "on" : "off",
    about: SWITCHES[name],
  }));
  const settings = Object.entries(MACHINE_SETTINGS).map(([name, setting]) => ({
    name,
    values: setting.values,
    default: setting.default,
    about: setting.about,
  }));
  return [...switches, ...settings];
}

/** `name=value` taken apart. Throws UsageError when it is not that. */
export function assignment(text: string): readonly [name: string, value: string] {
  const match = /^([^=\s]+)=(.*)$/s.exec(text);
  if (match === null) throw new UsageError(`--set wants option=value, got "${text}"`);
  return [match[1] ?? "", match[2] ?? ""];
}

/**
 * What a preset and assignments ask of the machine, and the assignments that are none of the machine's, in the order
 * given. A later assignment wins over an earlier one. Throws UsageError for a preset or a value that does not exist.
 */
export function machineRequest(
  preset: string,
  assignments: readonly string[],
): { request: MachineRequest; others: readonly (readonly [name: string, value: string])[] } {
  const base = presetName(preset);
  const switches = { ...PRESETS[base] };
  const others: (readonly [string, string])[] = [];
  const settings: Partial<Settings> = { outOfSyncAfter: PRESET_OUT_OF_SYNC_AFTER[base] };
  for (const [name, value] of assignments.map(assignment)) {
    const setting = Object.hasOwn(MACHINE_SETTINGS, name) ? MACHINE_SETTINGS[name] : undefined;
    if (isSwitchName(name)) switches[name] = oneOf(name, value, ["on", "off"]) === "on";
    else if (setting !== undefined) Object.assign(settings, setting.parse(name, value));
    else others.push([name, value]);
  }
  return { request: { ...settings, switches, preset: base }, others };
}

/** The machine asked for, of the given sizes. Throws UsageError when its pool would be too small. */
export function requestedMachine(
  request: MachineRequest,
  sizes: Partial<MachineConfig> & Pick<MachineConfig, "vcpus" | "ramPages">,
): MachineConfig {
  const { preset: _, ...settings } = request;
  const minimum = minimumPool(sizes);
  refuseGranularity(settings);
  if (settings.poolPages !== undefined && settings.poolPages < minimum) {
    throw new UsageError(
      `--set pool: ${String(sizes.vcpus)} vCPUs and ${String(sizes.ramPages)} pages of memory need a pool of at ` +
        `least ${String(minimum)} pages, got ${String(settings.poolPages)}`,
    );
  }
  return machineConfig({ ...sizes, ...settings });
}

/** Per-page locks are built for what the talk has; what came later keeps one lock. Throws UsageError for other machines. */
export function refuseGranularity({
  granularity,
  paging,
  switches,
}: Pick<MachineRequest, "granularity" | "paging" | "switches">): void {
  if (granularity !== "page") return;
  const start = "granularity page is for shadow mode without out-of-sync shadows";
  if (paging === "hap") throw new UsageError(`${start}, and this machine is in hap mode`);
  if (switches["out-of-sync"]) throw new UsageError(`${start}: add --set out-of-sync=off`);
}

/** The settings of a machine apart from its switches, by the names that `--set` knows. */
export function settingsOf(config: MachineConfig): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(MACHINE_SETTINGS).map(([name, setting]) => [name, setting.read(config)]),
  );
}

/** The preset of that name, given with that flag. Throws UsageError when there is none. */
export function presetName(name: string, flag = "--preset"): PresetName {
  return oneOf("preset", name, PRESET_NAMES, flag);
}

/** The granularity of that name, given with `--granularity`. Throws UsageError when there is none. */
export function granularityName(name: string): MachineConfig["granularity"] {
  return oneOf("granularity", name, GRANULARITIES, "--granularity");
}

/** The assistance mode of that name, given with `--paging`. Throws UsageError when there is none. */
export function pagingModeName(name: string): MachineConfig["paging"] {
  return oneOf("paging", name, PAGING_MODES, "--paging");
}

function isSwitchName(name: string): name is SwitchName {
  return Object.hasOwn(SWITCHES, name);
}

function oneOf<Name extends string>(
  option: string,
  value: string,
  allowed: readonly Name[],
  flag = `--set ${option}`,
): Name {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw new UsageError(`${flag} wants ${allowedNames(allowed)}, got "${value}"`);
  return found;
}

function integer(option: string, value: string, min: number, max: number): number {
  return wholeNumber(`--set ${option}`, value, { min, max });
}

function powerOfTwo(option: string, value: string, max: number): number {
  const found = integer(option, value, 1, max);
  if ((found & (found - 1)) !== 0) {
    throw new UsageError(`--set ${option} wants a power of two up to ${String(max)}, got "${value}"`);
  }
  return found;
}
