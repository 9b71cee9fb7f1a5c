/**
 * Loads modules as coroutines: whatever is imported under `?coroutine`, and what it imports in turn, is rewritten as it
 * is loaded, from the files that the other engines run (design 1).
 */
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { Colouring } from "./colour.ts";
import type { Refusal } from "./refusals.ts";
import { rewrite } from "./rewrite.ts";
import { SITES } from "./sites.ts";
import { readModule } from "./syntax.ts";
import type { ModuleCode } from "./syntax.ts";

const QUERY = "?coroutine";
const INDEX_URL = new URL("../../index.ts", import.meta.url).href;
const DECODER_URL = new URL("../../machine/x86/iced.ts", import.meta.url).href;
const EXPLORER_URL = new URL("../explore/scheduler.ts", import.meta.url).href;
/** What stands in for a module under the scheduler, by URL: another, or the module as it is where it uses a library. */
const SUBSTITUTES: ReadonlyMap<string, string> = new Map([
  [
    new URL("../../memory/wasm-atomics.ts", import.meta.url).href,
    new URL("plain-atomics.ts", import.meta.url).href,
  ],
  [DECODER_URL, DECODER_URL],
]);
/** Code that runs between scheduling points and is never rewritten: the engine's own. */
const OWN_URL = new URL("..", import.meta.url).href;
const RAW_URL = new URL("../explore/raw-access.ts", import.meta.url).href;
const MODEL_ENTRY_URL = new URL("model.ts", import.meta.url).href;

/** A module cannot be translated; the message has one line for each reason. */
export class RefusedError extends Error {
  readonly refusals: readonly Refusal[];

  constructor(refusals: readonly Refusal[]) {
    const lines = refusals.map(({ url, line, reason }) => `${pathOf(url)}:${String(line)}: ${reason}`);
    super([...new Set(lines)].join("\n"));
    this.name = "RefusedError";
    this.refusals = refusals;
  }
}

/** Modules that are loaded as coroutines, with the hook that does it. */
export interface CoroutineModules {
  readonly colouring: Colouring;
  /** The address under which a module of the set is loaded as coroutines. */
  readonly address: (url: string) => string;
}

/** How modules are rewritten. */
export interface CoroutineOptions {
  /** They know nothing of Umbra's memory: their `Atomics` and elements of shared arrays are the shared accesses. */
  readonly isRaw?: boolean;
  /** URL of the module whose `SCHEDULER` decides what runs next; the explorer's unless said. */
  readonly schedulerUrl?: string;
}

/**
 * Registers the hook for the modules at some file URLs and all that they import. Once a thread: sites are numbered as
 * modules are loaded. Throws RefusedError.
 */
export function registerCoroutines(
  roots: readonly string[],
  { isRaw = false, schedulerUrl = EXPLORER_URL }: CoroutineOptions = {},
): CoroutineModules {
  const modules = collectModules(roots, isRaw);
  const colouring = new Colouring(modules, resolveImport);
  const refusals = colouring.refusals();
  if (refusals.length > 0) throw new RefusedError(refusals);
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const isInside = context.parentURL?.endsWith(QUERY) === true;
      const target = isInside ? resolveImport(specifier, context.parentURL ?? "") : undefined;
      if (target === undefined) return nextResolve(specifier, context);
      const substitute = SUBSTITUTES.get(target);
      if (substitute !== undefined) return nextResolve(substitute, context);
      if (!modules.has(target)) return nextResolve(target, context);
      return { url: target + QUERY, shortCircuit: true, format: "module" };
    },
    load(url, context, nextLoad) {
      const module = url.endsWith(QUERY) ? modules.get(url.slice(0, -QUERY.length)) : undefined;
      if (module === undefined) return nextLoad(url, context);
      const source = rewrite(module, { colouring, sites: SITES, schedulerUrl, rawUrl: RAW_URL });
      return { source, format: "module", shortCircuit: true };
    },
  });
  return { colouring, address: (url) => url + QUERY };
}

/** The modules at some URLs and all that they import, in the order of their first mention. */
function collectModules(roots: readonly string[], isRaw: boolean): ReadonlyMap<string, ModuleCode> {
  const modules = new Map<string, ModuleCode>();
  const pending = [...roots];
  for (let url = pending.shift(); url !== undefined; url = pending.shift()) {
    if (modules.has(url) || SUBSTITUTES.has(url)) continue;
    if (url.startsWith(OWN_URL) && url !== MODEL_ENTRY_URL) continue;
    if (isRaw && url === INDEX_URL) continue;
    const module = readModule(url, isRaw);
    modules.set(url, module);
    for (const specifier of module.specifiers) {
      const target = resolveImport(specifier, url);
      if (target !== undefined) pending.push(target);
    }
  }
  return modules;
}

/** The URL of an import that may be rewritten; undefined for packages and Node's own modules. */
function resolveImport(specifier: string, from: string): string | undefined {
  if (specifier === "umbra") return INDEX_URL;
  if (!specifier.startsWith(".") && !specifier.startsWith("file:")) return undefined;
  return new URL(specifier, from.replace(/\?.*$/, "")).href;
}

function pathOf(url: string): string {
  const here = pathToFileURL("./").href;
  return url.startsWith(here) ? url.slice(here.length) : url.replace(/^file:\/\//, "");
}
