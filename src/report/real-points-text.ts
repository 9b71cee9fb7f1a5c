/** Simulated points beside the same on real threads, as a text for people. */
import type { RealPoint, SimulateResult, SimulatedPoint } from "./simulate-result.ts";
import { percent, table } from "./text.ts";
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

/**
 * A table of both. Speed-ups are against the fewest vCPUs that ran, since a cost model of another machine says nothing of
 * this one's speed. Empty when no real points were asked for.
 */
export function realPointLines({ points, real }: SimulateResult, paint: Paint): string[] {
  if (real.length === 0) return [];
  const rows = real.map((point) => {
    const simulated = points.find(({ lock, vcpus }) => lock === point.lock && vcpus === point.vcpus);
    const base = real
      .filter(({ lock }) => lock === point.lock)
      .reduce((fewest, each) => (each.vcpus < fewest.vcpus ? each : fewest), point);
    const simulatedBase = points.find(({ lock, vcpus }) => lock === base.lock && vcpus === base.vcpus);
    return [
      point.lock,
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
  ];
}

function speedUp(
  point: SimulatedPoint | RealPoint | undefined,
  base: SimulatedPoint | RealPoint | undefined,
): string {
  if (point === undefined || base === undefined || base.throughput === 0) return "-";
  return (point.throughput / base.throughput).toFixed(2);
}
