/** Runs in a worker: executes a scenario's small variant again and again with checks and planted faults. */
import { parentPort } from "node:worker_threads";
import { registerCoroutines } from "../../src/engines/coroutine/hook.ts";
import { execute, keyOfFailure } from "../../src/engines/explore/execution.ts";
import type * as Model from "../../src/engines/explore/model.ts";
import { makeChecks } from "../../src/engines/explore/checks/scenario-checks.ts";
import { RandomWalk } from "../../src/engines/explore/strategies/random-walk.ts";
import { ScenarioWorld } from "../../src/engines/explore/scenario-world.ts";
import { SCHEDULER } from "../../src/engines/explore/scheduler.ts";
import { planStress } from "../../src/engines/stress/plan.ts";
import { resolveUmbraName } from "../../src/engines/umbra-name.ts";
import type { Scenario } from "../../src/guest/scenario.ts";
import type { Fault } from "./planted/faults.ts";
import type { RunRequest, RunResult } from "./explorer.ts";

resolveUmbraName();
const here = (path: string): string => new URL(path, import.meta.url).href;
const model = here("../../src/engines/explore/model.ts");
const faults = here("planted/faults.ts");
const scenarios = [
  "map-unmap-shootdown",
  "shared-address-space",
  "tiny-pool",
  "linear-map-writes",
  "exec-exit",
  "p2m-under-load",
  "mode-switches",
];
const urls = new Map(scenarios.map((name) => [name, here(`../../scenarios/${name}.ts`)]));
const modules = registerCoroutines([model, faults, ...urls.values()]);
const loadedModel = (await import(modules.address(model))) as typeof Model;
const loadedFaults = (await import(modules.address(faults))) as Readonly<Record<string, Fault>>;

async function run(request: RunRequest): Promise<RunResult> {
  const world = await makeWorld(request);
  SCHEDULER.pointsMax = 200_000;
  const result: RunResult = { executions: 0, failed: 0, points: 0, found: {} };
  const walk = new RandomWalk(request.seed);
  for (let iteration = 0; iteration < request.executions; iteration++) {
    const execution = execute(world, walk, iteration);
    if (execution === null) break;
    result.executions++;
    result.points += execution.points;
    if (execution.failures.length > 0) result.failed++;
    for (const failure of execution.failures) result.found[keyOfFailure(failure)] ??= failure.message;
    if (execution.failures.length > 0 && request.untilFailure) break;
  }
  return result;
}

async function makeWorld({
  scenario: name,
  fault,
  seed,
  checks,
  machine,
}: RunRequest): Promise<ScenarioWorld> {
  const url = urls.get(name);
  if (url === undefined) throw new RangeError(`the runner has no scenario ${name}`);
  const { default: coroutines } = (await import(modules.address(url))) as { default: Scenario };
  const { default: scenario } = (await import(url)) as { default: Scenario };
  const { vcpus, options = {}, machine: small = {} } = scenario.small ?? { vcpus: 2 };
  const set = [
    "tlb-sets=8",
    "tlb-ways=2",
    ...Object.entries(options).map(([key, value]) => `${key}=${String(value)}`),
  ];
  const { config, source } = await planStress({ scenario: name, vcpus: String(vcpus), seed: "1", set });
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
    rounds: 1,
    checks: (world) => makeChecks(world, checks),
    ...(plant === undefined ? {} : { mutate: plant }),
  });
}

parentPort?.on("message", (request: RunRequest) => {
  run(request).then(
    (result) => parentPort?.postMessage(result),
    (error: unknown) =>
      parentPort?.postMessage({ error: error instanceof Error ? error.stack : String(error) }),
  );
});
