/** A calibration of this machine, short as it is: a file that the simulator takes, with a source for every number. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { planCalibrate } from "../../../src/engines/calibrate/calibrate-plan.ts";
import { runCalibrate } from "../../../src/engines/calibrate/calibrate.ts";
import { hostCaches } from "../../../src/engines/calibrate/host.ts";
import { COST_NAMES, readCostModel } from "../../../src/engines/simulate/cost-model.ts";
import { planSimulate } from "../../../src/engines/simulate/simulate-plan.ts";
import { runSimulate } from "../../../src/engines/simulate/sweep.ts";
import { calibrateReport } from "../../../src/report/calibrate-report.ts";
import { PLAIN } from "../../../src/report/text.ts";
import type { CalibrateResult } from "../../../src/report/types.ts";
import { ROOT } from "../../source.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-calibrate-"));
afterAll(() => rmSync(folder, { recursive: true }));

const output = join(folder, "mine.json");
let result: CalibrateResult;
beforeAll(async () => {
  const plan = await planCalibrate({ output, seconds: "1" });
  // Some workloads are enough for a file; numbers are not what is tested.
  result = await runCalibrate({ ...plan, workloads: plan.workloads.slice(0, 3) });
}, 240_000);

function schema(name: string): object {
  return JSON.parse(readFileSync(join(ROOT, "docs/schema", `${name}.json`), "utf8")) as object;
}

test("the file is a cost model by its schema and by its reader, and nothing else is written", () => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
  const file: unknown = JSON.parse(readFileSync(output, "utf8"));
  expect(ajv.validate(schema("cost-model"), file)).toBe(true);
  expect(ajv.validate(schema("calibrate"), JSON.parse(JSON.stringify(result)))).toBe(true);
  const { name, nanos, counters } = readCostModel(output);
  expect(name).toBe("calibrated");
  expect(COST_NAMES.filter((cost) => !(nanos[cost] >= 0))).toEqual([]);
  expect(nanos.hit).toBeGreaterThan(0);
  expect(nanos.transfer).toBeGreaterThanOrEqual(nanos.hit);
  expect(counters.local_flushes).toBeGreaterThan(0);
  expect(readdirSync(folder)).toEqual(["mine.json"]);
});

test("every number says what it was made of, on which processor, by how many rounds and with what spread", () => {
  expect(result).toMatchObject({ engine: "calibrate", outcome: "completed", output });
  const measured = result.costs.filter(({ path }) => !path.startsWith("cache."));
  expect(measured.length).toBeGreaterThan(COST_NAMES.length);
  const when = result.at.slice(0, 10);
  for (const { source } of measured) {
    expect(source).toContain(`measured on ${result.host.processor}, ${when}, by umbra calibrate: `);
    expect(source).toMatch(/medians? of \d+ rounds/);
    expect(source).toMatch(/spread \d+ %/);
  }
  expect(result.primitives.filter(({ nanos, rounds }) => !(nanos > 0 && rounds > 0))).toEqual([]);
  expect(result.command).toBe(`umbra calibrate --output ${output} --seconds 1`);
  const text = calibrateReport(result, PLAIN);
  for (const { name } of [...result.primitives, ...result.workloads]) expect(text).toContain(name);
  expect(text).toContain(`--cost ${output}`);
});

test("a simulation runs by it, twice the same, beside what the same costs real threads", async () => {
  const request = { scenario: "disjoint-spaces", vcpus: "1,2", seed: "1", milliseconds: "4", cost: output };
  const sweep = await runSimulate(await planSimulate({ ...request, stress: "0.2" }));
  const { points, settings, real } = sweep;
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
  expect(ajv.validate(schema("simulate"), JSON.parse(JSON.stringify(sweep)))).toBe(true);
  expect(settings.cost).toBe("calibrated");
  for (const { laws, reason, throughput } of points) {
    expect(reason).toBeNull();
    expect(laws.filter(({ holds }) => !holds)).toEqual([]);
    expect(throughput).toBeGreaterThan(0);
  }
  for (const { errors } of real) expect(errors?.throughput).toBeGreaterThan(-1);
  const again = await runSimulate(await planSimulate(request));
  expect(JSON.stringify(again.points)).toBe(JSON.stringify(points));
});

test("one that is interrupted writes nothing, and leaves what was there", async () => {
  const old = join(folder, "old.json");
  writeFileSync(old, "as it was");
  const plan = await planCalibrate({ output: old, seconds: "60" });
  const interruption = AbortSignal.timeout(300);
  const interrupted = await runCalibrate(plan, { interruption });
  expect(interrupted).toMatchObject({ outcome: "interrupted", output: null, costs: [] });
  expect(readFileSync(old, "utf8")).toBe("as it was");
  expect(readdirSync(folder).toSorted()).toEqual(["mine.json", "old.json"]);
  expect(calibrateReport(interrupted, PLAIN)).toContain("interrupted");
});

test("a computer that was busy is told of", () => {
  const time = { name: "load", about: "a load", nanos: 5, rounds: 9 };
  const workloads = [{ name: "office", command: "", nanos: 500, rounds: 9, spread: 0.1, fitted: 450 }];
  const text = (spread: number): string =>
    calibrateReport({ ...result, primitives: [{ ...time, spread }], workloads }, PLAIN);
  expect(text(0.6)).toContain("1 of 2 times have a spread above 50.0 %");
  expect(text(0.4)).not.toContain("spread above");
  expect(text(0.4)).toMatch(/office\s+500\s+9\s+10.0 %\s+450\s+-10.0 %/);
});

test("a system that does not tell of its caches is taken for a usual one, and the file says so", () => {
  const { privateLines, sharedLines } = hostCaches(join(folder, "no-such-folder"));
  expect([privateLines.value, sharedLines.value]).toEqual([8192, 524_288]);
  expect(privateLines.source).toContain("assumption, to be varied");
});
