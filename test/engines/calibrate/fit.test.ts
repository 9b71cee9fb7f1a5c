/** Costs that are fitted: found where they are known, never negative, and whole where the model wants them whole. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { fitCosts, predicted } from "../../../src/engines/calibrate/fit.ts";
import type { MeasuredWorkload } from "../../../src/engines/calibrate/fit.ts";
import { nonNegative } from "../../../src/engines/calibrate/least-squares.ts";
import { seriesOf } from "../../../src/engines/calibrate/rounds.ts";

test("coefficients that made the sums are found again", () => {
  const coefficients = fc.array(fc.nat(1000), { minLength: 3, maxLength: 3 });
  const extra = fc.array(fc.array(fc.nat(9), { minLength: 3, maxLength: 3 }), { maxLength: 4 });
  fc.assert(
    fc.property(coefficients, extra, (wanted, more) => {
      const rows = [[1, 2, 0], [0, 1, 3], [5, 0, 1], ...more];
      const sums = rows.map((row) => row.reduce((sum, each, index) => sum + each * (wanted[index] ?? 0), 0));
      for (const [index, found] of nonNegative(rows, sums).entries())
        expect(found).toBeCloseTo(wanted[index] ?? 0, 3);
    }),
  );
});

test("none is below 0, and the others make the best of it", () => {
  expect(
    nonNegative(
      [
        [1, 0],
        [1, 1],
      ],
      [4, 2],
    ),
  ).toEqual([expect.closeTo(3, 6), 0]);
  expect(
    nonNegative(
      [
        [0, 1],
        [0, 2],
      ],
      [1, 2],
    ),
  ).toEqual([0, expect.closeTo(1, 6)]);
});

const KNOWN = { nanos: { atomic: 5, memory: 80 }, counters: { local_flushes: 300 } };

function workload(own: number, memory: number, faults: number, flushes: number): MeasuredWorkload {
  const counts = {
    costs: { operation: 1, hit: own, memory, atomic: own / 10 },
    counters: { fault: faults, local_flushes: flushes },
  };
  const nanos = 40 + 12 * (own + memory) + 80 * memory + 5 * (own / 10) + 900 * faults + 300 * flushes;
  return { counts, nanos };
}

test("what an operation, an access and a fault cost is told from workloads that mix them", () => {
  const workloads = [
    workload(2, 0, 0, 0),
    workload(9, 0.2, 0.1, 0.01),
    workload(20, 0.1, 0.05, 0.2),
    workload(4, 0, 0.3, 0),
  ];
  const fitted = fitCosts(workloads, KNOWN);
  expect(fitted.hit).toBe(12);
  expect(fitted.operation).toBeCloseTo(40, 1);
  expect(fitted.counters.fault).toBeCloseTo(900, 0);
  expect(fitted.counters.mmio).toBe(0);
  for (const { counts, nanos } of workloads)
    expect(predicted(counts, KNOWN, fitted) / nanos).toBeCloseTo(1, 3);
});

test("a median is told with how far the middle half of the rounds reaches", () => {
  expect(seriesOf([9, 1, 2, 3, 100])).toEqual({ nanos: 3, rounds: 5, spread: (9 - 2) / 3 });
});
