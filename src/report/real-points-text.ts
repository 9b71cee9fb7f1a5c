/** Simulated points beside the same on real threads, as a text for people. */
import type { RealPoint, SimulateResult, SimulatedPoint } from "./simulate-result.ts";
import { count, percent, table } from "./text.ts";
import type { Paint } from "./text.ts";

const HEAD = [
  "lock",
  "vCPUs",
  "speed-up\nsimulated",
  "\nreal",
  "waiting share\nsimulated",
  "\nreal",
  "held\nsimulated",
  "\nreal",
];

const ERRORS_HEAD = [
  "lock",
  "vCPUs",
  "operations per second\nsimulated",
  "\nreal",
  "\noff by",
  "waiting share\noff by",
  "held\noff by",
];

/**
 * A table of both, and one of how far the simulated are off. Speed-ups are against the fewest vCPUs that ran, since a cost model of another machine says nothing of
 * this one's speed. Empty when no real points were asked for.
 */
export function realPointLines({ points, real }: SimulateResult, paint: Paint): string[] {
  if (real.length === 0) return [];
  const rows = real.map((point) => {
    const simulated = points.find(({ design, vcpus }) => design === point.design && vcpus === point.vcpus);
    const base = real
      .filter(({ design }) => design === point.design)
      .reduce((fewest, each) => (each.vcpus < fewest.vcpus ? each : fewest), point);
    const simulatedBase = points.find(({ design, vcpus }) => design === base.design && vcpus === base.vcpus);
    return [
      point.design,
      String(point.vcpus),
      speedUp(simulated, simulatedBase),
      speedUp(point, base),
      simulated === undefined ? "-" : percent(simulated.waitingShare),
      percent(point.waitingShare),
      simulated === undefined ? "-" : percent(simulated.utilisation),
      percent(point.utilisation),
    ];
  });
  return [
    `${paint.bold("beside real threads")} ${paint.faint("(points that there are cores for, on this machine)")}`,
    table(HEAD, rows),
    `${paint.bold("simulated by real")} ${paint.faint("(worth something with costs of this machine: umbra calibrate)")}`,
    table(ERRORS_HEAD, errorRows(points, real)),
  ];
}

function off(error: number | null | undefined): string {
  return typeof error === "number" ? percent(error) : "-";
}

function errorRows(points: SimulateResult["points"], real: SimulateResult["real"]): string[][] {
  return real.map(({ design, vcpus, throughput, errors }) => {
    const simulated = points.find((point) => point.design === design && point.vcpus === vcpus);
    return [
      design,
      String(vcpus),
      simulated === undefined ? "-" : count(simulated.throughput),
      count(throughput),
      off(errors?.throughput),
      off(errors?.waitingShare),
      off(errors?.utilisation),
    ];
  });
}

function speedUp(
  point: SimulatedPoint | RealPoint | undefined,
  base: SimulatedPoint | RealPoint | undefined,
): string {
  if (point === undefined || base === undefined || base.throughput === 0) return "-";
  return (point.throughput / base.throughput).toFixed(2);
}
