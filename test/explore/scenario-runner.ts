/** Runs in a worker: executes a scenario's small variant again and again with checks and planted faults. */
import { parentPort } from "node:worker_threads";
import { registerCoroutines } from "../../src/engines/coroutine/hook.ts";
import { execute, keyOfFailure } from "../../src/engines/explore/execution.ts";
import type * as Model from "../../src/engines/coroutine/model.ts";
import { CheckList } from "../../src/engines/explore/checks/check-list.ts";
import { LockCheck } from "../../src/engines/explore/checks/lock-check.ts";
import { ProgramRaceCheck } from "../../src/engines/explore/checks/program-race-check.ts";
import { RaceCheck } from "../../src/engines/explore/checks/race-check.ts";
import { DECLARED_GUARDS } from "../../src/checks/guards.ts";
import { ProgramWorld, asCoroutine } from "../../src/engines/explore/program-world.ts";
import type { Failure } from "../../src/engines/explore/program-world.ts";
import type { ExecutionCheck, World } from "../../src/engines/explore/world.ts";
import { COUNTER_WORDS, Counter } from "../../src/memory/counters.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { makeChecks } from "../../src/engines/explore/checks/scenario-checks.ts";
import { RandomWalk } from "../../src/engines/explore/strategies/random-walk.ts";
import { ScenarioWorld } from "../../src/engines/explore/scenario-world.ts";
import { SCHEDULER } from "../../src/engines/explore/scheduler.ts";
import { bundledScenarios } from "../../src/engines/scenario-files.ts";
import { planStress } from "../../src/engines/stress/plan.ts";
import { resolveUmbraName } from "../../src/engines/umbra-name.ts";
import type { Scenario } from "../../src/guest/scenario.ts";
import type { Fault } from "./planted/faults.ts";
import type { ProgramRequest, RunRequest, RunResult } from "./explorer.ts";

resolveUmbraName();
const here = (path: string): string => new URL(path, import.meta.url).href;
const model = here("../../src/engines/coroutine/model.ts");
const faults = here("planted/faults.ts");
const programs = here("planted/programs.ts");
const urls = new Map(bundledScenarios().map((name) => [name, here(`../../scenarios/${name}.ts`)]));
const modules = registerCoroutines([model, faults, programs, ...urls.values()]);
const loadedModel = (await import(modules.address(model))) as typeof Model;
const loadedFaults = (await import(modules.address(faults))) as Readonly<Record<string, Fault>>;
const loadedPrograms = (await import(modules.address(programs))) as Readonly<
  Record<string, (world: ProgramWorld) => void>
>;

class ProgramUnderChecks implements World {
  readonly name: string;
  readonly observer = new CheckList([
    new ProgramRaceCheck(ProgramWorld.cells),
    new LockCheck(null, (thread) => this.threadName(thread)),
  ]);
  readonly #memory = SharedMemory.create(ProgramWorld.cells);
  #world = new ProgramWorld(this.#memory);

  constructor(name: string) {
    this.name = name;
    SCHEDULER.adopt(this.#memory.view);
  }

  begin(): void {
    SCHEDULER.restore();
    SCHEDULER.begin();
    this.#world = new ProgramWorld(loadedModel.SharedMemory.attach(this.#memory.handle));
    const program = loadedPrograms[this.name];
    if (program === undefined) throw new RangeError(`there is no program ${this.name}`);
    SCHEDULER.add(asCoroutine(program(this.#world)));
    this.observer.begin();
  }

  end(ending: number): readonly Failure[] {
    return [...this.observer.end(ending), ...this.#world.failures];
  }

  threadName(thread: number): string {
    return `thread ${String(thread)}`;
  }

  cellName(cell: number): string {
    return `cell ${String(cell)}`;
  }
}

async function run(request: RunRequest | ProgramRequest): Promise<RunResult> {
  const world = "program" in request ? new ProgramUnderChecks(request.program) : await makeWorld(request);
  const untilFailure = "untilFailure" in request && request.untilFailure;
  SCHEDULER.pointsMax = 150_000;
  const result: RunResult = { executions: 0, failed: 0, points: 0, found: {}, shortages: 0 };
  const walk = new RandomWalk(request.seed);
  for (let iteration = 0; iteration < request.executions; iteration++) {
    const execution = execute(world, walk, iteration);
    if (execution === null) break;
    result.executions++;
    if (world instanceof ScenarioWorld && hasBeenShort(world)) result.shortages++;
    result.points += execution.points;
    if (execution.failures.length > 0) result.failed++;
    for (const failure of execution.failures) result.found[keyOfFailure(failure)] ??= failure.message;
    const finds = "finds" in request ? (request.finds ?? "") : "";
    if (untilFailure && execution.failures.some((each) => keyOfFailure(each).startsWith(finds))) break;
  }
  return result;
}

/** Whether a vCPU of the execution that is over found too few pages in the pool. */
function hasBeenShort({ machine: { memory, layout, config } }: ScenarioWorld): boolean {
  const { offset } = layout.regions.counters;
  const counted = (vcpu: number, counter: number): number =>
    memory.view[offset + vcpu * COUNTER_WORDS + counter] ?? 0;
  return Array.from({ length: config.vcpus }, (_, vcpu) => vcpu).some(
    (vcpu) => counted(vcpu, Counter.prealloc_1) + counted(vcpu, Counter.prealloc_2) > 0,
  );
}

async function makeWorld({
  scenario: name,
  fault,
  seed,
  checks,
  machine,
  undeclared,
  format,
  rounds = 1,
}: RunRequest): Promise<ScenarioWorld> {
  const url = urls.get(name);
  if (url === undefined) throw new RangeError(`the runner has no scenario ${name}`);
  const { default: coroutines } = (await import(modules.address(url))) as { default: Scenario };
  const { default: scenario } = (await import(url)) as { default: Scenario };
  const { vcpus = 2, options = {}, machine: small = {}, freePoolPages } = scenario.small ?? {};
  const set = [
    "tlb-sets=8",
    "tlb-ways=2",
    ...Object.entries(options).map(([key, value]) => `${key}=${String(value)}`),
  ];
  const { config, source } = await planStress({
    scenario: name,
    vcpus: String(vcpus),
    seed: "1",
    set,
    guest: format,
  });
  if (source.kind !== "scenario") throw new Error("this is a trace");
  const { guest, options: chosen } = source;
  const plant = fault === undefined ? undefined : loadedFaults[fault];
  return new ScenarioWorld({
    scenario,
    coroutines,
    model: loadedModel,
    config: { ...config, ...small, ...machine },
    guest,
    options: chosen,
    seed,
    rounds,
    freePoolPages: freePoolPages === undefined ? null : freePoolPages * vcpus,
    checks: (world) =>
      undeclared === undefined ? makeChecks(world, checks) : [withoutDeclaration(world, undeclared)],
    ...(plant === undefined ? {} : { mutate: plant }),
  });
}

/** A race detector that does not know one declaration. */
function withoutDeclaration(
  { machine }: ScenarioWorld,
  { region, cell }: NonNullable<RunRequest["undeclared"]>,
): ExecutionCheck {
  const declared = { ...DECLARED_GUARDS, [region]: { ...DECLARED_GUARDS[region], [cell]: undefined } };
  return new RaceCheck(machine, "intent", declared);
}

parentPort?.on("message", (request: RunRequest | ProgramRequest) => {
  run(request).then(
    (result) => parentPort?.postMessage(result),
    (error: unknown) =>
      parentPort?.postMessage({ error: error instanceof Error ? error.stack : String(error) }),
  );
});
