/** Every result that a command writes is what its published schema says, and nothing more. */
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { planAblate } from "../../src/engines/ablate/ablate-plan.ts";
import { runAblate } from "../../src/engines/ablate/run-ablate.ts";
import { conform } from "../../src/engines/conform.ts";
import { planMutants, runMutants } from "../../src/engines/explore/mutants/mutants.ts";
import { verifyEachSwitch } from "../../src/engines/replay/each-switch.ts";
import { compareModes } from "../../src/engines/replay/compare-modes.ts";
import { cutTrace } from "../../src/engines/replay/cut-trace.ts";
import { traceInfo } from "../../src/engines/replay/trace-info.ts";
import { verifyTrace } from "../../src/engines/replay/verify.ts";
import { runCompare } from "../../src/engines/stress/compare.ts";
import { makeList } from "../../src/engines/stress/list.ts";
import { planStress } from "../../src/engines/stress/plan.ts";
import { runStress } from "../../src/engines/stress/engine.ts";
import { planSimulate } from "../../src/engines/simulate/simulate-plan.ts";
import { runSimulate } from "../../src/engines/simulate/sweep.ts";
import { rows as simulatorRows } from "../../bench/simulator-figures.ts";
import { ROOT } from "../source.ts";

const SCHEMAS = join(ROOT, "docs/schema");
const SCENARIOS = join(ROOT, "test/engines/stress/scenarios");

const folder = mkdtempSync(join(tmpdir(), "umbra-schema-"));
afterAll(() => rmSync(folder, { recursive: true }));

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true });
for (const file of globSync("*.json", { cwd: SCHEMAS })) {
  ajv.addSchema(JSON.parse(readFileSync(join(SCHEMAS, file), "utf8")), basename(file, ".json"));
}

/** What is wrong with a result, as a file would hold it. */
function faults(schema: string, result: unknown): string[] {
  const validate = ajv.getSchema(schema);
  if (validate === undefined) return [`there is no schema ${schema}`];
  if (validate(JSON.parse(JSON.stringify(result))) === true) return [];
  return (validate.errors ?? []).map(({ instancePath, message = "" }) => `${instancePath} ${message}`);
}

async function stress(scenario: string, request: { ops?: string; seconds?: string }): Promise<object> {
  const plan = await planStress({ scenario: join(SCENARIOS, `${scenario}.ts`), ...request });
  return runStress(plan, scenario === "deadlocks" ? { watchdogSeconds: 1 } : {});
}

async function compare(): Promise<object> {
  const request = { scenario: join(SCENARIOS, "count.ts"), ops: "2000", vs: "talk-before" };
  return runCompare(await planStress(request), request);
}

const short = join(folder, "short.trace.gz");
let cut: object = {};
beforeAll(async () => {
  cut = await cutTrace(join(ROOT, "scenarios/traces/pae.trace.gz"), 500, short);
});

const EVERYTHING = { scenarios: true, options: true, counters: true };

const RESULTS: readonly { schema: string; what: string; make: () => object | Promise<object> }[] = [
  { schema: "stress", what: "a healthy run", make: () => stress("count", { ops: "5000" }) },
  {
    schema: "stress",
    what: "a run with a toolstack",
    make: () => stress("with-toolstack", { seconds: "0.5" }),
  },
  { schema: "stress", what: "a run with violations", make: () => stress("breaks-promise", { ops: "1000" }) },
  { schema: "stress", what: "a run whose worker died", make: () => stress("vanishes", {}) },
  { schema: "stress", what: "a run that is stuck", make: () => stress("deadlocks", {}) },
  { schema: "compare", what: "a comparison", make: compare },
  { schema: "trace-verify", what: "a replay", make: () => verifyTrace({ file: short }) },
  {
    schema: "trace-modes",
    what: "both modes",
    make: () => compareModes({ file: short }),
  },
  {
    schema: "trace-switches",
    what: "replays under several settings",
    make: () => verifyEachSwitch(short, {}, [{ preset: "talk", set: "prefetch=off" }]),
  },
  { schema: "trace-info", what: "what is in a trace", make: () => traceInfo(short) },
  { schema: "trace-cut", what: "a cut", make: () => cut },
  {
    schema: "conform",
    what: "a conformance run",
    make: () => conform(join(ROOT, "test/data/walks-sample.ndjson.gz")),
  },
  {
    schema: "mutants",
    what: "a run over mutants",
    make: () => runMutants({ ...planMutants({ ids: ["M18"], seeds: "1" }), points: 100_000 }),
  },
  {
    schema: "simulate",
    what: "a sweep",
    make: async () =>
      runSimulate(await planSimulate({ scenario: "disjoint-spaces", vcpus: "1,3", milliseconds: "0.1" })),
  },
  {
    schema: "simulate",
    what: "a sweep in which nobody can go on",
    make: async () => runSimulate(await planSimulate({ scenario: join(SCENARIOS, "deadlocks.ts") })),
  },
  {
    schema: "ablate",
    what: "an ablation",
    make: async () => runAblate(await planAblate({ workload: "office", milliseconds: "0.1", seed: "1" })),
  },
  {
    schema: "bench",
    what: "what benchmarks write",
    make: () => ({
      results: [
        { name: "TLB-hit access", ratio: 3.2, target: 4, met: true },
        { name: "prefetched access", ratio: 12, target: null, met: null },
      ],
      explorer: [{ name: "a program", unit: "points/s", value: 6e6, target: 5e6, met: true }],
      simulator: simulatorRows("mcs", 4e-7, 7e-7),
    }),
  },
  { schema: "list", what: "a list of everything", make: () => makeList(EVERYTHING) },
  {
    schema: "start",
    what: "a start",
    make: async () => ({
      engine: "start",
      traces: [await verifyTrace({ file: short })],
      stress: await stress("count", { ops: "1000" }),
    }),
  },
];

test.each(RESULTS)("$what is a result of the schema $schema", async ({ schema, make }) => {
  const result = await make();
  expect(faults(schema, result)).toEqual([]);
  expect(faults(schema, { ...result, undeclared: 1 })).toContain(" must NOT have additional properties");
});

test.each(globSync("*.json", { cwd: join(ROOT, "scenarios/costs") }))("%s is a cost model", (file) => {
  const model: unknown = JSON.parse(readFileSync(join(ROOT, "scenarios/costs", file), "utf8"));
  expect(faults("cost-model", model)).toEqual([]);
  expect(faults("cost-model", { ...(model as object), nanos: {} })).not.toEqual([]);
});

test("what a schema names must be there, and be of its kind", async () => {
  const { violations: _, ...rest } = (await stress("count", { ops: "1000" })) as Record<string, unknown>;
  expect(faults("stress", { ...rest, audits: "many" }).toSorted()).toEqual([
    " must have required property 'violations'",
    "/audits must be integer",
  ]);
});

test("no object of any schema may have more than is declared", () => {
  const open: string[] = [];
  const look = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null) return;
    if ("properties" in value && !("additionalProperties" in value)) open.push(path);
    for (const [name, each] of Object.entries(value)) look(each, `${path}/${name}`);
  };
  for (const file of globSync("*.json", { cwd: SCHEMAS })) {
    look(JSON.parse(readFileSync(join(SCHEMAS, file), "utf8")), file);
  }
  expect(open).toEqual([]);
});
