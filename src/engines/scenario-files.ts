/** Scenarios as files: those that come with Umbra, found by name, and those of its users, found by path. */
import { globSync, statSync } from "node:fs";
import { basename, extname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { scenarioFaults } from "../guest/scenario.ts";
import type { Scenario } from "../guest/scenario.ts";
import { placeOfLoading } from "./error-place.ts";
import type { Place } from "./error-place.ts";
import { UsageError } from "./errors.ts";
import { OWN_EXTENSION } from "./own-files.ts";
import { resolveUmbraName } from "./umbra-name.ts";
import { firstLine } from "./usage.ts";

const SCENARIOS = fileURLToPath(new URL("../../scenarios/", import.meta.url));
const SCENARIO_EXTENSIONS = new Set([".ts", ".mts", ".js", ".mjs"]);

/** A module that waits for something at its top would otherwise keep Umbra waiting for ever, or end it in silence. */
const LOADING_SECONDS_MAX = 10;

/** A scenario and the module that it came from, which workers import anew. */
export interface LoadedScenario {
  readonly url: string;
  /** What messages call it: its name, behind the path that was given if one was. */
  readonly called: string;
  readonly scenario: Scenario;
}

/** Names of the scenarios that come with Umbra. */
export function bundledScenarios(): string[] {
  return globSync(`*${OWN_EXTENSION}`, { cwd: SCENARIOS })
    .map((file) => basename(file, OWN_EXTENSION))
    .toSorted();
}

/** Paths of the recorded guests that come with Umbra, from the current folder where that is shorter. */
export function bundledTraces(): string[] {
  return globSync("traces/*.trace.gz", { cwd: SCENARIOS })
    .map((file) => shortest(join(SCENARIOS, file)))
    .toSorted();
}

function shortest(path: string): string {
  const near = relative(".", path);
  return near.length < path.length ? near : path;
}

/** Whether an argument names a recorded guest rather than a scenario. */
export function isTraceFile(argument: string): boolean {
  return /\.(?:trace|gz|ndjson)$/.test(argument);
}

/**
 * Loads the scenario that a name or a path means. Throws UsageError when there is none, when its module cannot be
 * loaded, or when what it exports is no scenario.
 */
export async function loadScenario(nameOrPath: string): Promise<LoadedScenario> {
  const file = isPath(nameOrPath) ? userFile(nameOrPath) : bundledFile(nameOrPath);
  const { url, value } = await importScenario(file, nameOrPath);
  const faults = scenarioFaults(value);
  if (value === undefined) throw new UsageError(`${nameOrPath}: exports nothing as default: a scenario does`);
  if (!isScenario(value)) throw new UsageError(`${nameOrPath}: the scenario ${faults.join(", ")}`);
  const called = `scenario ${value.name}`;
  return { url, called: isPath(nameOrPath) ? `${nameOrPath}: ${called}` : called, scenario: value };
}

/** Imports the scenario of a module that the main thread has loaded before, and found to be one. */
export async function importLoadedScenario(url: string): Promise<Scenario> {
  resolveUmbraName();
  const value: unknown = defaultOf(await import(url));
  if (!isScenario(value)) throw new UsageError(`${url}: the default export is no scenario on this thread`);
  return value;
}

function isScenario(value: unknown): value is Scenario {
  return scenarioFaults(value).length === 0;
}

function isPath(argument: string): boolean {
  return (
    argument.includes("/") ||
    argument.includes(sep) ||
    isAbsolute(argument) ||
    SCENARIO_EXTENSIONS.has(extname(argument))
  );
}

function userFile(path: string): string {
  const file = resolve(path);
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) throw new UsageError(`${path}: there is no such file`);
  if (!found.isFile()) throw new UsageError(`${path}: this is not a file`);
  return file;
}

function bundledFile(name: string): string {
  const names = bundledScenarios();
  if (names.includes(name)) return join(SCENARIOS, `${name}${OWN_EXTENSION}`);
  const near = names.filter((each) => each.includes(name) || name.includes(each));
  const hint = near.length === 0 ? "" : `, perhaps ${near.join(" or ")}`;
  throw new UsageError(
    `there is no scenario "${name}"${hint}: umbra list names them, a path needs a "/" or ".ts"`,
  );
}

async function importScenario(file: string, shown: string): Promise<{ url: string; value: unknown }> {
  resolveUmbraName();
  const url = pathToFileURL(file).href;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Error(`the module does not finish loading within ${String(LOADING_SECONDS_MAX)} s`));
  }, LOADING_SECONDS_MAX * 1000);
  try {
    return { url, value: defaultOf(await Promise.race([import(url), late.promise])) };
  } catch (error) {
    const name = error instanceof Error && error.name !== "Error" ? `${error.name}: ` : "";
    const where = whereIn(await placeOfLoading(error, url), file, shown);
    throw new UsageError(`${where}${name}${firstLine(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** `mine.ts:3: cannot be loaded: `, or with the line of what it imports. */
function whereIn(place: Place | undefined, file: string, shown: string): string {
  if (place === undefined) return `${shown}: cannot be loaded: `;
  const { file: at, line } = place;
  if (at === file) return `${shown}:${String(line)}: cannot be loaded: `;
  return `${shown}: cannot be loaded: ${shortest(at)}:${String(line)}: `;
}

function defaultOf(module: unknown): unknown {
  return typeof module === "object" && module !== null && "default" in module ? module.default : undefined;
}
