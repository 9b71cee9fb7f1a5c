/** Loads what is to be explored as coroutines, on the thread that explores it. One target a thread. */
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { registerCoroutines } from "../coroutine/hook.ts";
import type { ModuleCode } from "../coroutine/syntax.ts";
import { UsageError } from "../errors.ts";
import { importLoadedScenario } from "../scenario-files.ts";
import { makeChecks } from "./checks/scenario-checks.ts";
import type * as Model from "../coroutine/model.ts";
import type { Mutant } from "./mutants/mutant.ts";
import { loadingError, wantFile } from "./program/loading-error.ts";
import { UserWorld } from "./program/user-world.ts";
import { prepareMachine } from "./prepare.ts";
import { SCHEDULER } from "./scheduler.ts";
import { ScenarioWorld } from "./scenario-world.ts";
import type { ScenarioSetup } from "./scenario-world.ts";
import type { ExploreTarget, ProgramTarget, ScenarioTarget } from "./target.ts";
import type { World } from "./world.ts";

const MODEL_URL = new URL("../coroutine/model.ts", import.meta.url).href;
const HASH_DIGITS = 8;

/** A world, and the code that it runs. */
export interface LoadedWorld {
  readonly world: World;
  /** A hash of all code that is explored: tokens from other code may replay differently. */
  readonly codeHash: string;
}

/** What worlds of a target are made of. */
export interface LoadedTarget {
  readonly setup: ScenarioSetup;
  /** The target's mutant, if it has one. */
  readonly mutant: Mutant | null;
  readonly codeHash: string;
}

/** Loads a target and makes its world. Throws RefusedError when its code cannot be explored. */
export async function loadWorld(target: ExploreTarget): Promise<LoadedWorld> {
  if (target.kind === "program") return loadProgram(target);
  const { setup, codeHash } = await loadTarget(target);
  return { world: new ScenarioWorld(setup), codeHash };
}

/** Loads a user's program; what it is given is part of the target. Throws UsageError, in one line with its place. */
async function loadProgram(target: ProgramTarget): Promise<LoadedWorld> {
  const url = pathToFileURL(target.module).href;
  wantFile(url);
  const loaded = await UserWorld.load(url).catch((error: unknown) => {
    throw loadingError(error, url);
  });
  loaded.world.take(target);
  return loaded;
}

/** Loads a scenario. */
export async function loadTarget(target: ScenarioTarget): Promise<LoadedTarget> {
  const { url, mutant: mutantAt, isPrepared } = target;
  // The plain build loads first: it resolves "umbra", boots the machine and looks at it when all is over.
  const scenario = await importLoadedScenario(url);
  const prepared = isPrepared ? await importMutant(url) : undefined;
  const coroutines = registerCoroutines([MODEL_URL, url, ...(mutantAt === null ? [] : [mutantAt])]);
  const { address, colouring } = coroutines;
  const mutant = mutantAt === null ? null : await importMutant(address(mutantAt));
  const setup: ScenarioSetup = {
    scenario,
    coroutines: await importLoadedScenario(address(url)),
    model: await importModel(address(MODEL_URL)),
    config: target.config,
    guest: target.guest,
    options: target.options,
    seed: target.seed,
    rounds: target.rounds,
    checks: (world) => makeChecks(world),
    // Failures of before this was known have none.
    freePoolPages: target.freePoolPages ?? null,
    ...(mutant === null ? {} : mutationOf(mutant)),
    ...(prepared === undefined ? {} : preparationOf(prepared, target)),
  };
  SCHEDULER.pointsMax = target.pointsMax;
  return { setup, mutant, codeHash: hashOf(colouring.modules) };
}

/** The mutant that a module exports. Throws UsageError when it exports none. */
export async function importMutant(url: string): Promise<Mutant> {
  const module: unknown = await import(url);
  if (typeof module === "object" && module !== null && "mutant" in module && isMutant(module.mutant))
    return module.mutant;
  throw new UsageError(`${url}: exports no mutant, as defineMutant makes them`);
}

function isMutant(value: unknown): value is Mutant {
  return typeof value === "object" && value !== null && "id" in value && "prologue" in value;
}

function mutationOf(mutant: Mutant): Pick<ScenarioSetup, "mutate" | "mutateToolstack"> {
  return {
    mutate: (hosted) => mutant.mutate?.(hosted),
    mutateToolstack: (domain) => mutant.mutateToolstack?.(domain) ?? domain,
  };
}

function preparationOf(
  mutant: Mutant,
  { guest }: ScenarioTarget,
): Pick<ScenarioSetup, "prepare" | "skipsTeardown" | "endsDomain"> {
  const { freePoolPages, logsDirty, tracksVram, endsDomain = false } = mutant;
  return {
    prepare: (machine, shared) => {
      prepareMachine(machine, {
        guest,
        shared,
        freePoolPages,
        logsDirty,
        tracksVram,
        prologue: (cpu) => {
          mutant.prologue(cpu, shared);
        },
      });
    },
    skipsTeardown: true,
    endsDomain,
  };
}

async function importModel(address: string): Promise<typeof Model> {
  const module: unknown = await import(address);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the module at this address is that one, rewritten
  return module as typeof Model;
}

function hashOf(modules: ReadonlyMap<string, ModuleCode>): string {
  const hash = createHash("sha256");
  for (const [, { text }] of [...modules].toSorted(([a], [b]) => (a < b ? -1 : 1))) hash.update(text);
  return hash.digest("hex").slice(0, HASH_DIGITS);
}
