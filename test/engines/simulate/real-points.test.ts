/** Simulated points beside the same on real threads. */
import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { pointErrors } from "../../../src/engines/simulate/real-points.ts";
import { planSimulate } from "../../../src/engines/simulate/simulate-plan.ts";
import { runSimulate } from "../../../src/engines/simulate/sweep.ts";
import { realPointLines } from "../../../src/report/real-points-text.ts";
import { PLAIN } from "../../../src/report/text.ts";
import type { RealPoint, SimulateResult, SimulatedPoint } from "../../../src/report/types.ts";

test("points that there are cores for run on threads, with the machine of the simulation", async () => {
  const cores = availableParallelism();
  const plan = await planSimulate({
    scenario: "disjoint-spaces",
    vcpus: `${String(cores + 1)},1`,
    lock: "futex",
    preset: "talk-before",
    set: ["tlb-sets=8"],
    milliseconds: "0.05",
    seed: "1",
    stress: "0.3",
  });
  expect(plan.command).toContain(" --stress 0.3");
  const { points, real } = await runSimulate(plan);
  expect(points).toHaveLength(2);
  expect(real).toHaveLength(1);
  const command =
    "umbra stress disjoint-spaces --guest 4level --vcpus 1 --seconds 0.3 --seed 1 --preset talk-before " +
    "--set tlb-sets=8 --set lock=futex";
  expect(real[0]).toMatchObject({ vcpus: 1, lock: "futex", outcome: "completed", violations: [], command });
  expect(real[0]?.throughput).toBeGreaterThan(0);
  const simulated = points.find(({ vcpus }) => vcpus === 1);
  const off = (simulated?.throughput ?? 0) / (real[0]?.throughput ?? 0) - 1;
  expect(real[0]?.errors?.throughput).toBeCloseTo(off, 9);
});

test("a point is off by what is too much of the real one, and of waits only waits count", () => {
  const locks = [{ waittimeTotal: 3e8 }, { waittimeTotal: 1e8 }];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no more of a point is asked for
  const simulated = {
    vcpus: 2,
    seconds: 1,
    throughput: 120,
    utilisation: 0.3,
    locks,
  } as unknown as SimulatedPoint;
  expect(pointErrors(simulated, { throughput: 100, waitingShare: 0.25, utilisation: 0 })).toEqual({
    throughput: expect.closeTo(0.2),
    waitingShare: expect.closeTo(-0.2),
    utilisation: null,
  });
});

function made(vcpus: number, throughput: number, share: number): object {
  return { design: "mcs", vcpus, throughput, waitingShare: share, utilisation: share / 2 };
}

test("the table has each real point beside the simulated one, and speed-ups of each for itself", () => {
  const points = [made(1, 100, 0), made(2, 150, 0.4), made(64, 90, 0.9)];
  const errors = { throughput: 0.5, waitingShare: -0.2, utilisation: null };
  const real: unknown = [
    { ...made(2, 19, 0.5), errors },
    { ...made(1, 10, 0.02), errors: null },
  ];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no more of a result is asked for
  const result = { points, real: real as readonly RealPoint[] } as unknown as SimulateResult;
  expect(`\n${realPointLines(result, PLAIN).join("\n")}\n`).toMatchInlineSnapshot(`
    "
    beside real threads (points that there are cores for, on this machine)
      lock  vCPUs   speed-up        waiting share               held
                   simulated  real      simulated    real  simulated    real
      mcs       2       1.50  1.90         40.0 %  50.0 %     20.0 %  25.0 %
      mcs       1       1.00  1.00          0.0 %   2.0 %      0.0 %   1.0 %
    simulated by real (worth something with costs of this machine: umbra calibrate)
      lock  vCPUs  operations per second                waiting share    held
                               simulated  real  off by         off by  off by
      mcs       2                    150    19  50.0 %        -20.0 %       -
      mcs       1                    100    10       -              -       -
    "
  `);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no more of a result is asked for
  expect(realPointLines({ points, real: [] } as unknown as SimulateResult, PLAIN)).toEqual([]);
});
