/**
 * The scenario API. A scenario is a module with one default export, made by `defineScenario`: which guests and how many
 * vCPUs it is for, how guest memory is set up before they start, one program for each vCPU, and what must hold in the end.
 *
 * What travels to the worker threads is the module's address and the plain data that `boot` returned; the functions are
 * imported anew on every thread. So a program shares nothing with another but guest memory and that data.
 */
import type { Cpu } from "./cpu.ts";
import type { Loader } from "./loader.ts";
import type { GuestRam, Toolstack } from "./ports.ts";

/** How a guest lays out its pagetables: 32-bit without PAE, 32-bit with PAE, or 64-bit. */
export type GuestFormat = "2level" | "pae" | "4level";

/** All guest formats. */
export const GUEST_FORMATS: readonly GuestFormat[] = ["2level", "pae", "4level"];

/** The value of an option of a scenario; its type is that of its default. */
export type OptionValue = number | string | boolean;

/** The options of a scenario by name. */
export type ScenarioOptions = Readonly<Record<string, OptionValue>>;

/** What a scenario wants of the machine. What it leaves out has the machine's own default. */
export interface MachineWish {
  /** Pages of guest memory; `DEFAULT_RAM_PAGES` when left out. */
  readonly ramPages?: number;
  /** Pages of the shadow pool; raised to the least that the machine can do with. */
  readonly poolPages?: number;
  /** Pages that the toolstack may raise the pool to. */
  readonly poolPagesMax?: number;
  /** Sets of each TLB, a power of two. */
  readonly tlbSets?: number;
  /** Ways of each TLB set. */
  readonly tlbWays?: number;
  /** Entries of each paging-structure cache; 0 for none. */
  readonly structureCacheEntries?: number;
}

/** Pages of guest memory when a scenario does not say: 16 MiB. */
export const DEFAULT_RAM_PAGES = 4096;

/** How many vCPUs a scenario can run on, and on how many it does when nobody says. */
export interface VcpuRange {
  readonly min: number;
  readonly max: number;
  readonly default: number;
}

/** The machine at rest, after every program has returned by itself. */
export interface MachineAtRest {
  /** Guest memory, by guest physical address. */
  readonly ram: GuestRam;
  readonly format: GuestFormat;
  readonly vcpus: number;
}

/** One round after another until `cpu.running()` is false. Its name is its name in reports. */
export type Program<Shared, Options> = {
  run(cpu: Cpu, shared: Shared, options: Options): void;
}["run"];

/** The smallest form of a scenario that still tells its story: for engines that try every order of events. */
export interface SmallVariant<Options> {
  readonly vcpus?: number;
  readonly options?: Partial<Options>;
  readonly machine?: MachineWish;
  /**
   * Shadow pages that the pool has left for each vCPU when programs begin: below the machine's minimum, so that a short
   * program is short of pages too.
   */
  readonly freePoolPages?: number;
}

/** A scenario whose boot data and options are known by type. `Scenario` without arguments is any of them. */
export interface Scenario<Shared = unknown, Options = ScenarioOptions> {
  /** Kebab-case, and the name of its file. */
  readonly name: string;
  /** One sentence without a full stop. */
  readonly about: string;
  /** The slide of the talk or the section of the specification that it stresses. */
  readonly slide?: string;
  /** Formats in which the story makes sense. The first is the default. */
  readonly guests: readonly GuestFormat[];
  readonly vcpus: VcpuRange;
  /** Constant, or computed from the number of vCPUs and the options. */
  readonly machine?: MachineWish | MachineSizing<Options>;
  /** The options with their defaults. */
  readonly options: Options;
  /** The values that an option of text may have. */
  readonly choices?: { readonly [Name in keyof Options]?: readonly string[] };
  /** Sets up guest memory, once, before any vCPU runs. What it returns goes to every program. */
  boot(loader: Loader, options: Options): Shared;
  /** vCPU i runs the program i modulo their number. */
  readonly programs: readonly Program<Shared, Options>[];
  /** Runs on a thread of its own beside the vCPUs. Loops while `toolstack.running()`. */
  toolstack?(toolstack: Toolstack, shared: Shared, options: Options): void;
  /**
   * What does not hold at the end, one sentence each. Asked only when every program returned by itself and the domain
   * was not destroyed: a vCPU stopped in mid-operation may have left anything half done.
   */
  holds?(machine: MachineAtRest, shared: Shared, options: Options): readonly string[];
  readonly small?: SmallVariant<Options>;
}

/** Computes what a scenario wants of the machine. */
export type MachineSizing<Options> = {
  size(vcpus: number, options: Options): MachineWish;
}["size"];

type Primitive = number | string | boolean | null | undefined;
type PlainArray = Int32Array | Float64Array | Uint8Array;

/** `T` if a worker can be sent it, otherwise a type to which the offending part cannot be assigned. */
export type Plain<T> = T extends Primitive | PlainArray
  ? T
  : T extends (...parameters: never) => unknown
    ? "a function cannot be sent to a vCPU"
    : { readonly [Name in keyof T]: Plain<T[Name]> };

/** Options by the types that they can be set to, not by their defaults. */
export type Widened<Options> = {
  readonly [Name in keyof Options]: Options[Name] extends boolean
    ? boolean
    : Options[Name] extends number
      ? number
      : string;
};

/** A scenario as it is written: boot data is inferred from `boot`, options from their defaults. */
export interface ScenarioDefinition<Shared, Options> extends Omit<
  Scenario<NoInfer<Shared>, Widened<NoInfer<Options>>>,
  "options" | "boot"
> {
  readonly options: Options & Widened<NoInfer<Options>>;
  boot(loader: Loader, options: Widened<NoInfer<Options>>): Shared & NoInfer<Plain<Shared>>;
}

/**
 * Makes a scenario of its definition. Nothing is checked at run time here: an engine that has loaded a module asks
 * `scenarioFaults` about its default export, and says which file is wrong.
 */
export function defineScenario<Shared, Options extends ScenarioOptions>(
  definition: ScenarioDefinition<Shared, Options>,
): Scenario<Shared, Widened<Options>> {
  return definition;
}

/** What a scenario wants of a machine with so many vCPUs; `ramPages` is always given. */
export function machineWish(
  scenario: Scenario,
  vcpus: number,
  options: ScenarioOptions,
): MachineWish & { readonly ramPages: number } {
  const { machine } = scenario;
  const wish = typeof machine === "function" ? machine(vcpus, options) : machine;
  return { ramPages: DEFAULT_RAM_PAGES, ...wish };
}

/** The vCPUs that a scenario takes where each is a thread, or has a bit of a word: not more than 32. */
export function fewerVcpus({ vcpus: { min, max } }: Scenario): {
  readonly min: number;
  readonly max: number;
} {
  return { min, max: Math.min(max, CPUS_MAX) };
}

/** Why a value is no scenario, as ends of the sentence "the scenario …"; empty if it is one. */
export function scenarioFaults(value: unknown): string[] {
  if (typeof value !== "object" || value === null)
    return ["is not an object: export default defineScenario({…})"];
  const field = new Map<string, unknown>(Object.entries(value));
  const faults: string[] = [];
  const name = field.get("name");
  if (typeof name !== "string" || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name))
    faults.push("has no kebab-case name");
  if (typeof field.get("about") !== "string") faults.push("does not say what it is about");
  if (!isListOf(field.get("guests"), isGuestFormat))
    faults.push(`runs no guest of ${GUEST_FORMATS.join(", ")}`);
  if (!isVcpuRange(field.get("vcpus")))
    faults.push("has no range of vCPUs with 1 ≤ min ≤ default ≤ max ≤ 1024");
  if (!areOptions(field.get("options"))) faults.push("has options that are not numbers, strings or booleans");
  if (typeof field.get("boot") !== "function") faults.push("has no function boot");
  if (!isListOf(field.get("programs"), isFunction)) faults.push("has no programs");
  for (const optional of ["toolstack", "holds"]) {
    if (field.get(optional) !== undefined && !isFunction(field.get(optional))) {
      faults.push(`has a ${optional} that is not a function`);
    }
  }
  return faults;
}

/** Most vCPUs of a machine. Only a simulation has as many; a kernel of `loader.kernel` takes `CPUS_MAX`. */
export const VCPUS_MAX = 1024;

/** Most vCPUs that a guest kernel can run on: its sets of CPUs are the bits of one word. */
export const CPUS_MAX = 32;

function isFunction(value: unknown): boolean {
  return typeof value === "function";
}

function isListOf(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((item) => isItem(item));
}

function isGuestFormat(value: unknown): boolean {
  return GUEST_FORMATS.some((format) => format === value);
}

function isVcpuRange(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const range = new Map<string, unknown>(Object.entries(value));
  const [min, normal, max] = [range.get("min"), range.get("default"), range.get("max")].map(Number);
  if (min === undefined || normal === undefined || max === undefined) return false;
  if (![min, normal, max].every((count) => Number.isInteger(count))) return false;
  return min >= 1 && min <= normal && normal <= max && max <= VCPUS_MAX;
}

function areOptions(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).every((each) => ["number", "string", "boolean"].includes(typeof each));
}
