/** What a workload is counted to do, priced by a model, is what the simulator makes it take. */
import { expect, test } from "vitest";
import { countWorkloads } from "../../../src/engines/calibrate/counts.ts";
import { predicted } from "../../../src/engines/calibrate/fit.ts";
import { workloads } from "../../../src/engines/calibrate/workloads.ts";
import { readCostModel } from "../../../src/engines/simulate/cost-model.ts";
import { simulatePoints } from "../../../src/engines/simulate/sweep.ts";

test("counts by prices are the time of the simulation, and not without any one of them", async () => {
  const workload = (await workloads()).find(({ name }) => name === "exec-exit, 2level, talk");
  if (workload === undefined) throw new Error("there is no such workload");
  const bundled = readCostModel("core2-2007");
  // High enough to show when they are left out or counted twice; but how much is from memory depends on how long one looks.
  const changed = { atomic: 90, fillLine: 40, sharedLevel: 10, memory: 12 };
  const { nanos: prices, counters } = { ...bundled, nanos: { ...bundled.nanos, ...changed } };
  const model = { ...bundled, nanos: prices };
  const { answers } = await simulatePoints([{ ...workload.task, model }]);
  const [counts] = await countWorkloads([workload], bundled.cache, {});
  const point = answers[0]?.point;
  if (point === undefined || counts === undefined) throw new Error("nothing was simulated");
  const taken = (point.seconds * 1e9) / point.operations;

  const { hit, atomic, fillLine, operation } = prices;
  const lines = {
    invalidation: prices.invalidation - hit,
    transfer: prices.transfer - hit,
    sharedLevel: prices.sharedLevel - hit,
    memory: prices.memory - hit,
  };
  const known = { nanos: { atomic, fillLine, ...lines }, counters };
  const fitted = { hit, operation, counters: {} };
  const off = (by: typeof known): number => Math.abs(predicted(counts, by, fitted) / taken - 1);
  expect(off(known)).toBeLessThan(0.03);
  expect(off({ ...known, nanos: { ...known.nanos, atomic: 0 } })).toBeGreaterThan(0.03);
  expect(off({ ...known, nanos: { ...known.nanos, fillLine: 0 } })).toBeGreaterThan(0.03);
  expect(off({ ...known, counters: { ...counters, exits: 0 } })).toBeGreaterThan(0.03);
});
