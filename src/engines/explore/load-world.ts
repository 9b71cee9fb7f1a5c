/** Loads what is to be explored as coroutines, on the thread that explores it. One target a thread. */
import { createHash } from "node:crypto";
import { registerCoroutines } from "../coroutine/hook.ts";
import { importLoadedScenario } from "../scenario-files.ts";
import type { HostedVcpu } from "../../hypervisor/machine.ts";
import type { ModuleCode } from "../coroutine/syntax.ts";
import type * as Model from "./model.ts";
import { SCHEDULER } from "./scheduler.ts";
import { ScenarioWorld } from "./scenario-world.ts";
import type { ExploreTarget } from "./target.ts";
import type { World } from "./world.ts";

const MODEL_URL = new URL("model.ts", import.meta.url).href;
const HASH_DIGITS = 8;

/** A world, and the code that it runs. */
export interface LoadedWorld {
  readonly world: World;
  /** A hash of all code that is explored: tokens from other code may replay differently. */
  readonly codeHash: string;
}

/** Loads a target. Throws RefusedError when its code cannot be explored. */
export async function loadWorld(target: ExploreTarget): Promise<LoadedWorld> {
  const scenario = await importLoadedScenario(target.url);
  const roots = [MODEL_URL, target.url, ...(target.mutant === null ? [] : [target.mutant])];
  const { colouring, address } = registerCoroutines(roots);
  const model = (await import(address(MODEL_URL))) as typeof Model;
  const coroutines = await importLoadedScenario(address(target.url));
  const mutate = target.mutant === null ? undefined : await importMutation(address(target.mutant));
  const { config, guest, options, seed, rounds } = target;
  const world = new ScenarioWorld({
    scenario,
    coroutines,
    model,
    config,
    guest,
    options,
    seed,
    rounds,
    ...(mutate === undefined ? {} : { mutate }),
  });
  SCHEDULER.pointsMax = target.pointsMax;
  return { world, codeHash: hashOf(colouring.modules) };
}

async function importMutation(address: string): Promise<(hosted: HostedVcpu) => void> {
  const module: unknown = await import(address);
  const { mutate } = module as { mutate?: unknown };
  if (typeof mutate !== "function") throw new TypeError(`${address}: exports no function mutate`);
  return mutate as (hosted: HostedVcpu) => void;
}

function hashOf(modules: ReadonlyMap<string, ModuleCode>): string {
  const hash = createHash("sha256");
  for (const [, { text }] of [...modules].toSorted(([a], [b]) => (a < b ? -1 : 1))) hash.update(text);
  return hash.digest("hex").slice(0, HASH_DIGITS);
}
