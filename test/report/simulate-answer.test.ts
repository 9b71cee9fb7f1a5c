/** The answer to the talk's last question, from points that are made up. */
import { expect, test } from "vitest";
import { scalingRows } from "../../src/engines/simulate/scaling.ts";
import { perPageLines } from "../../src/report/per-page-text.ts";
import { answerLines } from "../../src/report/simulate-report.ts";
import { PLAIN } from "../../src/report/text.ts";
import type { SimulateResult, SimulatedPoint } from "../../src/report/types.ts";

function point(vcpus: number, waitingShare: number, utilisation: number): SimulatedPoint {
  const waits = { shadowLockWaiting: waitingShare, utilisation };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no more of a point is asked for
  return {
    vcpus,
    design: "ticket",
    reason: null,
    throughput: vcpus,
    ...waits,
  } as unknown as SimulatedPoint;
}

function answer(...points: readonly SimulatedPoint[]): string[] {
  const settings = { scenario: "disjoint-spaces", preset: "talk", cost: "current-server" };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no more of a result is asked for
  const result = { settings, points, scaling: scalingRows(points) } as unknown as SimulateResult;
  return answerLines(result, PLAIN);
}

test("each number of vCPUs is on one side, and the figures are those of the points where the answer changes", () => {
  expect(answer(point(8, 0.8, 0.95), point(1, 0.01, 0.3), point(4, 0.5, 0.7), point(2, 0.2, 0.6))).toEqual([
    "is the shadow lock the bottleneck? (disjoint-spaces, preset talk, costs current-server)",
    "  ticket: at 1 and 2 vCPUs it is not: at 2 they wait 20.0 % of their time for it, and it is held 60.0 % of the time",
    "  ticket: at 4 and 8 vCPUs it is: at 4 they wait 50.0 % of their time for it, and it is held 70.0 % of the time",
  ]);
});

test("nothing is said of a side on which no point is", () => {
  expect(answer(point(1, 0.49, 0.89)).slice(1)).toEqual([
    "  ticket: at 1 vCPU it is not: at 1 they wait 49.0 % of their time for it, and it is held 89.0 % of the time",
  ]);
  expect(answer(point(16, 0.1, 0.9)).slice(1)).toEqual([
    "  ticket: at 16 vCPUs it is: at 16 they wait 10.0 % of their time for it, and it is held 90.0 % of the time",
  ]);
  expect(answer()).toEqual([]);
});

function designed(
  granularity: "domain" | "page",
  vcpus: number,
  throughput: number,
  waits = 0,
): SimulatedPoint {
  const locks = [
    { name: "paging", waitingShare: waits, topWaitingSite: "page_fault", topHoldingSite: "emulate_write" },
    { name: "frame", waitingShare: 0.01, topWaitingSite: null, topHoldingSite: null },
  ];
  const spent = [{ name: "exits", share: 0.5 }];
  const made = { vcpus, granularity, lock: "ticket", reason: null, throughput, locks, spent };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no more of a point is asked for
  return made as unknown as SimulatedPoint;
}

test("what per-page locks bring is held against the domain lock at its best, and says what comes next", () => {
  const domain = [designed("domain", 1, 100), designed("domain", 4, 200), designed("domain", 8, 150)];
  const page = [designed("page", 1, 98), designed("page", 8, 700)];
  expect(perPageLines([...domain, ...page])).toEqual([
    "ticket: at 8 vCPUs per-page locks bring 3.5 times what the domain lock does at its best, 4 vCPUs: 700 operations " +
      "per second, 89.3 % of linear; at 1 vCPU 0.980 times it",
    "  no lock is next: most of the time goes into exits, 50.0 %",
  ]);
  const stuck = perPageLines([...domain, designed("page", 8, 160, 0.7)]);
  expect(stuck[1]).toBe(
    "  what they wait for now is still the shadow lock, as a whole, for which 8 vCPUs wait 70.0 % of their time, most of it at page_fault while it is held at emulate_write",
  );
  expect(perPageLines(domain)).toEqual([]);
  expect(perPageLines(page)).toEqual([]);
});
