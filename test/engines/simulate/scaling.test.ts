/** The laws of scaling against points that are made by them. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { kneeOf, uslFit } from "../../../src/engines/simulate/scaling.ts";
import type { Measured } from "../../../src/engines/simulate/scaling.ts";

const COUNTS = [1, 2, 4, 8, 16, 32, 64];

function curve(sigma: number, kappa: number, counts: readonly number[] = COUNTS): Measured[] {
  return counts.map((vcpus) => ({
    vcpus,
    throughput: (1e6 * vcpus) / (1 + sigma * (vcpus - 1) + kappa * vcpus * (vcpus - 1)),
  }));
}

/** Sum of the squares of what a fit leaves, for coefficients of one's own. */
function squaresLeft(points: readonly Measured[], sigma: number, kappa: number): number {
  return curve(sigma, kappa).reduce((sum, { vcpus, throughput }) => {
    const measured = points.find((point) => point.vcpus === vcpus)?.throughput ?? 0;
    return sum + (measured / throughput - 1) ** 2;
  }, 0);
}

const coefficients = fc.record({
  sigma: fc.double({ min: 0, max: 1, noNaN: true }),
  kappa: fc.double({ min: 0, max: 0.1, noNaN: true }),
});

test("a curve of any coefficients is found to have them", () => {
  fc.assert(
    fc.property(
      coefficients,
      fc.uniqueArray(fc.integer({ min: 2, max: 256 }), { minLength: 2 }),
      ({ sigma, kappa }, counts) => {
        const fit = uslFit(curve(sigma, kappa, [1, ...counts]));
        expect(fit?.lambda).toBe(1e6);
        expect(fit?.sigma).toBeCloseTo(sigma, 6);
        expect(fit?.kappa).toBeCloseTo(kappa, 6);
        for (const { residual } of fit?.residuals ?? []) expect(residual).toBeCloseTo(0, 6);
      },
    ),
  );
});

test("of points that lie off, no other coefficients leave less", () => {
  const noise = fc.array(fc.double({ min: 0.5, max: 1.5, noNaN: true }), {
    minLength: COUNTS.length,
    maxLength: COUNTS.length,
  });
  fc.assert(
    fc.property(coefficients, noise, coefficients, (truth, factors, other) => {
      const points = curve(truth.sigma, truth.kappa).map(({ vcpus, throughput }, index) => ({
        vcpus,
        throughput: throughput * (vcpus === 1 ? 1 : (factors[index] ?? 1)),
      }));
      const { sigma, kappa, residuals } = uslFit(points) ?? { sigma: -1, kappa: -1, residuals: [] };
      const left = residuals.reduce((sum, { residual }) => sum + residual ** 2, 0);
      expect(Math.min(sigma, kappa)).toBeGreaterThanOrEqual(0);
      expect(left).toBeCloseTo(squaresLeft(points, sigma, kappa), 9);
      for (const each of [other, truth])
        expect(left).toBeLessThanOrEqual(squaresLeft(points, each.sigma, each.kappa) + 1e-9);
    }),
  );
});

test("a point that lies off the curve has the residual that it lies off by", () => {
  const points = curve(0.05, 0.002).map(({ vcpus, throughput }) => ({
    vcpus,
    throughput: vcpus === 4 ? 2 * throughput : throughput,
  }));
  const residuals = uslFit(points)?.residuals ?? [];
  const worst = residuals.reduce((a, b) => (Math.abs(b.residual) > Math.abs(a.residual) ? b : a));
  expect(worst.vcpus).toBe(4);
  expect(worst.residual).toBeGreaterThan(0.5);
});

test("what scales better than linearly has no coefficient below 0", () => {
  const fit = uslFit([1, 2, 4, 8].map((vcpus) => ({ vcpus, throughput: vcpus ** 1.2 })));
  expect(fit).toMatchObject({ sigma: 0, kappa: 0 });
  expect(fit?.residuals.at(-1)?.residual).toBeCloseTo(8 ** 0.2 - 1, 9);
});

test("there is no fit of two points, or without one vCPU", () => {
  expect(uslFit(curve(0.1, 0, [1, 2]))).toBeNull();
  expect(uslFit(curve(0.1, 0, [2, 4, 8]))).toBeNull();
});

test("a lock that nobody takes has no knee", () => {
  expect(kneeOf({ vcpus: 4, waitingShare: 0, utilisation: 0 })).toBeNull();
});
