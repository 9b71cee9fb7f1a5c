/** Cost models: data files that say what everything costs in nanoseconds, with a source for every number. */
import { readFileSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { COUNTER_NAMES } from "../../memory/counters.ts";
import type { CounterName } from "../../memory/counters.ts";
import { keysOf } from "../../memory/records.ts";
import { UsageError } from "../errors.ts";
import { firstLine } from "../usage.ts";

/** Costs that every model names, with what each is. */
export const COSTS = {
  hit: "an access to a line in the vCPU's own caches, with the instructions around it",
  atomic: "a locked read-modify-write, on top of its access",
  invalidation: "a write to a line that is here and that others have too",
  transfer: "a line that another vCPU alone has",
  sharedLevel: "a line from the level of cache that all share",
  memory: "a line from memory",
  fillLine: "a line written as a whole",
  occupancy: "time for which a line that moves is busy: who wants it meanwhile waits",
  operation: "a guest operation, apart from its accesses",
  pause: "from a change of what a vCPU spins on until it looks again",
  wake: "waking one who sleeps, for the one who wakes it, on top of its accesses",
  wakeup: "from the interrupt until a halted vCPU runs, or a sleeper from its waking",
  spinLimit: "time after which a waiting vCPU sleeps; 0: it spins for ever",
} as const;

/** Name of a cost. */
export type CostName = keyof typeof COSTS;

/** All names of costs. */
export const COST_NAMES: readonly CostName[] = keysOf(COSTS);

/** What everything costs. Plain data: it is sent to workers. */
export interface CostModel {
  readonly name: string;
  readonly cache: { readonly privateLines: number; readonly sharedLines: number };
  readonly nanos: Readonly<Record<CostName, number>>;
  /** Nanoseconds for each count of a counter. */
  readonly counters: Readonly<Partial<Record<CounterName, number>>>;
}

const FOLDER = fileURLToPath(new URL("../../../scenarios/costs/", import.meta.url));

/** Names of the models that come with Umbra. */
export const BUNDLED_MODELS = ["current-server", "core2-2007"] as const;

/** No cost is higher: a millisecond. */
export const NANOS_MAX = 1_000_000;
const LINES_MAX = 2 ** 24;

/** A model by its name, or by the path of its file. Throws UsageError, in one line with file, field and reason. */
export function readCostModel(nameOrPath: string): CostModel {
  const isBundled = BUNDLED_MODELS.some((name) => name === nameOrPath);
  if (!isBundled && !nameOrPath.includes("/") && !nameOrPath.endsWith(".json"))
    throw new UsageError(
      `--cost wants ${BUNDLED_MODELS.join(" or ")} or the path of a .json file, got "${nameOrPath}"`,
    );
  const file = isBundled ? join(FOLDER, `${nameOrPath}.json`) : resolve(nameOrPath);
  const shown = isBundled || !isAbsolute(nameOrPath) ? nameOrPath : file;
  return checkedModel(readJson(file, shown), shown);
}

function readJson(file: string, shown: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    throw new UsageError(
      `${shown}: ${isMissing ? "there is no such file" : `is no JSON: ${firstLine(error)}`}`,
    );
  }
}

/** A cost model of what a file holds. Throws UsageError naming the file, the field and the reason. */
export function checkedModel(value: unknown, file: string): CostModel {
  const root = fieldsOf(value, { file, at: "the model" });
  const name = root.get("name");
  if (typeof name !== "string" || name === "") throw new UsageError(`${file}: name: wants a text`);
  const known = new Set(["$schema", "name", "about", "cache", "nanos", "counters"]);
  for (const key of root.keys())
    if (!known.has(key)) throw new UsageError(`${file}: ${key}: no cost model has this field`);
  const cache = numbersOf(root.get("cache"), { file, at: "cache" }, ["privateLines", "sharedLines"]);
  for (const [field, lines] of cache)
    if ((lines & (lines - 1)) !== 0 || lines < 16 || lines > LINES_MAX)
      throw new UsageError(
        `${file}: cache.${field}: wants a power of two from 16 to ${String(LINES_MAX)}, got ${String(lines)}`,
      );
  const nanos = numbersOf(root.get("nanos"), { file, at: "nanos" }, COST_NAMES);
  const missing = COST_NAMES.find((cost) => !nanos.has(cost));
  if (missing !== undefined) throw new UsageError(`${file}: nanos.${missing}: is missing: ${COSTS[missing]}`);
  const counters = numbersOf(root.get("counters"), { file, at: "counters" }, COUNTER_NAMES);
  const lines = (field: string): number => cache.get(field) ?? 16;
  return {
    name,
    cache: { privateLines: lines("privateLines"), sharedLines: lines("sharedLines") },
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every name was found
    nanos: Object.fromEntries(nanos) as Record<CostName, number>,
    counters: Object.fromEntries(counters),
  };
}

interface Place {
  readonly file: string;
  readonly at: string;
}

/** Numbers under names that are known, each `{ value, source }`. */
function numbersOf(value: unknown, place: Place, names: readonly string[]): Map<string, number> {
  const { file, at } = place;
  const numbers = new Map<string, number>();
  for (const [name, entry] of fieldsOf(value, place)) {
    const path = `${at}.${name}`;
    if (!names.includes(name)) throw new UsageError(`${file}: ${path}: nothing has this name`);
    const fields = fieldsOf(entry, { file, at: path });
    const number = fields.get("value");
    const max = at === "cache" ? LINES_MAX : NANOS_MAX;
    if (typeof number !== "number" || !Number.isInteger(number) || number < 0 || number > max)
      throw new UsageError(`${file}: ${path}.value: wants a whole number from 0 to ${String(max)}`);
    const source = fields.get("source");
    if (typeof source !== "string" || source.trim() === "")
      throw new UsageError(`${file}: ${path}.source: wants a text that says where the number is from`);
    numbers.set(name, number);
  }
  return numbers;
}

function fieldsOf(value: unknown, { file, at }: Place): Map<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new UsageError(`${file}: ${at}: wants an object`);
  return new Map(Object.entries(value));
}
