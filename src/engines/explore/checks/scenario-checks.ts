/** The checks that watch a scenario, by name. */
import type { ScenarioWorld } from "../scenario-world.ts";
import type { ExecutionCheck } from "../world.ts";
import { AuditCheck } from "./audit-check.ts";
import { LockCheck } from "./lock-check.ts";
import { MemoryCheck } from "./memory-check.ts";
import { ProgressCheck } from "./progress-check.ts";
import { RaceCheck } from "./race-check.ts";

type CheckMaker = (world: ScenarioWorld) => ExecutionCheck;

const MAKERS: ReadonlyMap<string, CheckMaker> = new Map<string, CheckMaker>([
  ["audit", ({ machine }) => new AuditCheck(machine)],
  ["memory", (world) => new MemoryCheck(world.machine, () => world.hosted)],
  ["race", ({ machine }) => new RaceCheck(machine, "intent")],
  ["locks", (world) => new LockCheck(world.machine.layout, (thread) => world.threadName(thread))],
  ["progress", (world) => new ProgressCheck(() => world.hosted)],
  ["strict-race", ({ machine }) => new RaceCheck(machine, "strict")],
]);

/** The checks that a scenario gets unless others are asked for. A race by strict order is one by intent too. */
export const CHECK_NAMES: readonly string[] = ["audit", "memory", "race", "locks", "progress"];

/** Checks for a world, the usual ones when none are named. Throws RangeError for a name that there is not. */
export function makeChecks(world: ScenarioWorld, names: readonly string[] = CHECK_NAMES): ExecutionCheck[] {
  return names.map((name) => {
    const make = MAKERS.get(name);
    if (make === undefined) throw new RangeError(`there is no check ${name}`);
    return make(world);
  });
}
