/** Sweeps of whole machines: repeated to the byte, accounted for to the nanosecond, and of cost models that are checked. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkedModel, COST_NAMES, readCostModel } from "../../../src/engines/simulate/cost-model.ts";
import { planSimulate } from "../../../src/engines/simulate/simulate-plan.ts";
import type { SimulateRequest } from "../../../src/engines/simulate/simulate-plan.ts";
import { runSimulate } from "../../../src/engines/simulate/sweep.ts";
import { simulateReport } from "../../../src/report/simulate-report.ts";
import { PLAIN } from "../../../src/report/text.ts";
import type { SimulateResult } from "../../../src/report/types.ts";
import { ROOT } from "../../source.ts";

async function simulate(request: Partial<SimulateRequest>): Promise<SimulateResult> {
  const plan = await planSimulate({
    scenario: "disjoint-spaces",
    milliseconds: "0.3",
    seed: "1",
    ...request,
  });
  return runSimulate(plan);
}

test("the same seed gives the same result to the byte, another seed another", async () => {
  const request = { vcpus: "1,24", lock: "test-and-set,ticket", milliseconds: "0.1" };
  const first = await simulate(request);
  expect(JSON.stringify(await simulate(request))).toBe(JSON.stringify(first));
  const other = await simulate({ ...request, seed: "2" });
  expect(JSON.stringify(other.points)).not.toBe(JSON.stringify(first.points));
  expect(first.points.map(({ lock, vcpus }) => `${lock} ${String(vcpus)}`)).toEqual([
    "test-and-set 1",
    "test-and-set 24",
    "ticket 1",
    "ticket 24",
  ]);
});

test.each([
  ["fork-copy-on-write", false],
  ["p2m-under-load", true],
])("every nanosecond of %s is accounted for, and nothing is wrong", async (scenario, hasToolstack) => {
  const { points } = await simulate({ scenario, vcpus: "3" });
  expect(points).toHaveLength(1);
  for (const { laws, spent, violations, reason, operations } of points) {
    expect({ reason, violations }).toEqual({ reason: null, violations: [] });
    expect(laws.filter(({ holds }) => !holds)).toEqual([]);
    expect(spent.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(spent.some(({ name }) => name === "the toolstack's pauses")).toBe(hasToolstack);
    expect(operations).toBeGreaterThan(0);
  }
});

test("one lock for all does not scale: its waiters are more and more of the machine", async () => {
  const { points } = await simulate({ vcpus: "1,4,16", milliseconds: "0.2" });
  const [one, four, sixteen] = points.map(({ waitingShare }) => waitingShare);
  expect(one).toBeLessThan(0.05);
  expect(four).toBeGreaterThan(0.3);
  expect(sixteen).toBeGreaterThan(four ?? 0);
});

test("whoever wakes a sleeper pays for it, and every nanosecond is still accounted for", async () => {
  const plan = await planSimulate({
    scenario: "disjoint-spaces",
    vcpus: "4",
    lock: "futex",
    seed: "1",
    milliseconds: "0.3",
  });
  const model = { ...plan.model, nanos: { ...plan.model.nanos, wake: 2000 } };
  const [task] = plan.tasks;
  const dear = task === undefined ? [] : [{ ...task, model }];
  const [free] = (await runSimulate(plan)).points;
  const [paid] = (await runSimulate({ ...plan, tasks: dear })).points;
  expect(free?.spent.find(({ name }) => name === "waking")).toBeUndefined();
  const waking = paid?.spent.find(({ name }) => name === "waking");
  expect(waking?.count).toBeGreaterThan(0);
  expect(waking?.nanos).toBe(2000 * (waking?.count ?? 0));
  expect(paid?.laws.filter(({ holds }) => !holds)).toEqual([]);
  expect(paid?.spent.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
  expect(paid?.spent.some(({ name }) => name === "the toolstack's pauses")).toBe(false);
  expect(paid?.throughput).toBeLessThan(free?.throughput ?? 0);
});

test("per-page locks keep what has nothing in common apart, and every law of queues holds for them", async () => {
  const result = await simulate({
    vcpus: "1,16",
    granularity: "domain,page",
    milliseconds: "0.5",
    set: ["swap=true"],
  });
  const { points } = result;
  expect(points.map(({ design, vcpus }) => `${design} ${String(vcpus)}`)).toEqual([
    "test-and-set 1",
    "test-and-set 16",
    "test-and-set, per page 1",
    "test-and-set, per page 16",
  ]);
  const [one, sixteen, onePerPage, sixteenPerPage] = points;
  for (const { laws, violations } of points) {
    expect(violations).toEqual([]);
    expect(laws.filter(({ holds }) => !holds)).toEqual([]);
  }
  // What is in part has rows of its own, and is judged by the same laws.
  expect(onePerPage?.locks.map(({ name }) => name)).toContain("paging in part");
  expect(one?.locks.map(({ name }) => name)).toEqual(["p2m", "paging", "heap"]);
  for (const lock of ["paging in part", "table", "frame"])
    expect(sixteenPerPage?.laws.filter((law) => law.lock === lock).map(({ law }) => law)).toEqual([
      "little",
      "utilisation",
    ]);
  const scales = (sixteenPerPage?.throughput ?? 0) / (onePerPage?.throughput ?? Infinity);
  expect(scales).toBeGreaterThan(0.8 * 16);
  expect((sixteen?.throughput ?? 0) / (one?.throughput ?? 0)).toBeLessThan(2);
  expect(simulateReport(result, PLAIN)).toMatch(/at 16 vCPUs per-page locks bring [\d.]+ times what/);
});

test("a machine on which nobody can go on says who waits for what", async () => {
  const scenario = join(ROOT, "test/engines/stress/scenarios/deadlocks.ts");
  const { points } = await simulate({ scenario });
  const messages = points.flatMap(({ violations }) => violations.map(({ message }) => message));
  expect(messages.join()).toMatch(/Nobody can go on: vCPU 0 on /);
});

const number = { value: 1, source: "a test" };
const whole = {
  name: "mine",
  cache: { privateLines: { ...number, value: 16 }, sharedLines: { ...number, value: 32 } },
  nanos: Object.fromEntries(COST_NAMES.map((name) => [name, number])),
  counters: { exits: number },
};

test("a whole cost model is taken as it stands", () => {
  expect(checkedModel(whole, "mine.json")).toMatchObject({
    counters: { exits: 1 },
    cache: { sharedLines: 32 },
  });
  expect(readCostModel("core2-2007").name).toBe("core2-2007");
});

test.each([
  [[], "the model: wants an object"],
  [{ ...whole, name: 1 }, "name: wants a text"],
  [{ ...whole, more: 1 }, "more: no cost model has this field"],
  [{ ...whole, nanos: {} }, "nanos.hit: is missing: an access"],
  [{ ...whole, nanos: { ...whole.nanos, hits: number } }, "nanos.hits: nothing has this name"],
  [
    { ...whole, nanos: { ...whole.nanos, hit: { ...number, value: 1.5 } } },
    "nanos.hit.value: wants a whole number",
  ],
  [{ ...whole, nanos: { ...whole.nanos, hit: { value: 1 } } }, "nanos.hit.source: wants a text"],
  [{ ...whole, counters: { exit: number } }, "counters.exit: nothing has this name"],
  [
    { ...whole, cache: { privateLines: { ...number, value: 17 } } },
    "cache.privateLines: wants a power of two",
  ],
])("a bad one is refused in one line, case %#", (model, says) => {
  expect(() => checkedModel(model, "mine.json")).toThrow(`mine.json: ${says}`);
});
