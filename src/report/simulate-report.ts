/** A sweep in virtual time as a text for people. */
import { lockTable, waitTables } from "./lock-table.ts";
import { perPageLines } from "./per-page-text.ts";
import { outcomeText } from "./outcome-text.ts";
import { realPointLines } from "./real-points-text.ts";
import { sensitivityLines } from "./sensitivity-text.ts";
import type { LockPlaces } from "./stress-result.ts";
import type { LawRow, SimulateResult, SimulatedPoint } from "./simulate-result.ts";
import { count, counted, indent, percent, table } from "./text.ts";
import type { Paint } from "./text.ts";
import { violationLines } from "./violation-lines.ts";

/** Shares below this say nothing about where time goes. */
const SHOWN_SHARE = 0.005;

/** The whole report. */
export function simulateReport(result: SimulateResult, paint: Paint): string {
  const { settings, points } = result;
  const { scenario, guest, preset, seed, milliseconds, cost } = settings;
  const last = points.at(-1);
  return [
    paint.bold(`${scenario}, ${guest} guest, preset ${preset}, seed ${String(seed)}, costs ${cost}`),
    `${String(milliseconds)} ms of virtual time a point`,
    pointTable(points),
    ...scalingLines(result),
    ...(last === undefined ? [] : [detailsOf(last, result.lockPlaces, paint)]),
    ...answerLines(result, paint),
    ...sensitivityLines(result, paint),
    ...realPointLines(result, paint),
    ...verdictLines(result, paint),
    "",
  ].join("\n");
}

function pointTable(points: readonly SimulatedPoint[]): string {
  const head = [
    "lock",
    "vCPUs",
    "operations\nper second",
    "rounds\nper second",
    "speed-up",
    "waiting\nshare",
    "shadow lock\nutilisation",
    "faults",
    "events",
  ];
  return table(
    head,
    points.map((point) => [
      point.design,
      String(point.vcpus),
      count(point.throughput),
      count(point.roundsPerSecond),
      speedUp(point, points),
      percent(point.waitingShare),
      percent(point.utilisation),
      count(point.faults),
      count(point.events),
    ]),
  );
}

/** By operations, against the same design at the fewest vCPUs of the sweep. */
function speedUp(point: SimulatedPoint, points: readonly SimulatedPoint[]): string {
  const same = points.filter(({ design }) => design === point.design);
  const base = same.reduce((least, each) => (each.vcpus < least.vcpus ? each : least), point);
  return base.throughput === 0 ? "-" : (point.throughput / base.throughput).toFixed(2);
}

/** Where each design ends, in words. */
function scalingLines({ points, scaling }: SimulateResult): string[] {
  return scaling.flatMap(({ design, bestVcpus, bestThroughput, knee, usl }) => {
    const own = points.filter((point) => point.design === design && point.reason === null);
    const most = own.reduce((largest, point) => (point.vcpus > largest.vcpus ? point : largest));
    const lines = [
      `${design}: best at ${counted(bestVcpus, "vCPU")}, ${count(bestThroughput)} operations per second; at ` +
        `${counted(most.vcpus, "vCPU")} they wait ${percent(most.waitingShare)} of their time, and the shadow lock is ` +
        `held ${percent(most.utilisation)}`,
    ];
    if (knee !== null) lines.push(`  by the smallest point, the lock serves N* = ${knee.toFixed(1)} vCPUs`);
    if (usl === null) return lines;
    const worst = usl.residuals.reduce((a, b) => (Math.abs(b.residual) > Math.abs(a.residual) ? b : a));
    lines.push(
      `  USL: σ = ${usl.sigma.toPrecision(3)}, κ = ${usl.kappa.toPrecision(3)}; the point farthest off is ` +
        `${counted(worst.vcpus, "vCPU")}, by ${percent(worst.residual)}`,
    );
    return lines;
  });
}

/** The talk's last question, answered for each design from the points that were measured, and from nothing else. */
export function answerLines({ points, scaling, settings }: SimulateResult, paint: Paint): string[] {
  const { scenario, cost, preset } = settings;
  const lines = scaling.flatMap(({ design, bottleneckAt }) => {
    const own = points
      .filter((point) => point.design === design && point.reason === null)
      .toSorted((a, b) => a.vcpus - b.vcpus);
    const isAt = ({ vcpus }: SimulatedPoint): boolean => bottleneckAt.includes(vcpus);
    return [
      sentence(
        design,
        "is not",
        own.filter((point) => !isAt(point)),
      ),
      sentence(design, "is", own.filter(isAt)),
    ].filter((each) => each !== "");
  });
  if (lines.length === 0) return [];
  return [
    paint.bold(`is the shadow lock the bottleneck? (${scenario}, preset ${preset}, costs ${cost})`),
    ...[...lines, ...perPageLines(points)].map((line) => indent(line)),
  ];
}

/** With the figures of the point that is nearest to the other side: the largest at which it is not, the smallest at which it is. */
function sentence(design: string, verb: "is" | "is not", points: readonly SimulatedPoint[]): string {
  const nearest = verb === "is" ? points[0] : points.at(-1);
  if (nearest === undefined) return "";
  const at = new Intl.ListFormat("en").format(points.map(({ vcpus }) => String(vcpus)));
  return (
    `${design}: at ${at} ${nearest.vcpus === 1 && points.length === 1 ? "vCPU" : "vCPUs"} it ${verb}: at ` +
    `${String(nearest.vcpus)} they wait ${percent(nearest.shadowLockWaiting)} of their time for it, and it is held ` +
    `${percent(nearest.utilisation)} of the time`
  );
}

function detailsOf(point: SimulatedPoint, lockPlaces: LockPlaces, paint: Paint): string {
  const { locks, waits, spent } = point;
  const rows = spent.filter(({ share }) => share >= SHOWN_SHARE).toSorted((a, b) => b.share - a.share);
  return [
    `${paint.bold(`locks at ${counted(point.vcpus, "vCPU")}, ${point.design}`)} ${paint.faint("(times in µs)")}`,
    lockTable(locks),
    ...waitTables(waits, lockPlaces, point.vcpus),
    paint.bold("where the vCPUs' time goes"),
    table(
      ["", "times", "share"],
      rows.map(({ name, count: times, share }) => [name, times === 0 ? "" : count(times), percent(share)]),
    ),
  ].join("\n");
}

function verdictLines(result: SimulateResult, paint: Paint): string[] {
  const { points, real, outcome, command } = result;
  const lines: string[] = [];
  if (outcome !== "completed") lines.push(paint.bad(outcomeText(result)));
  for (const { vcpus, design, reason } of points)
    if (reason !== null) lines.push(paint.bad(`${counted(vcpus, "vCPU")}, ${design}: ${reason}`));
  const laws = points.flatMap((point) => point.laws.map((law) => ({ point, law })));
  const broken = laws.filter(({ law }) => !law.holds);
  for (const { point, law } of broken) lines.push(paint.bad(brokenLine(point, law)));
  if (broken.length === 0 && laws.length > 0) lines.push(`laws of queues: all ${count(laws.length)} hold`);
  const violations = [...points, ...real].flatMap((point) => point.violations);
  if (violations.length === 0) lines.push(paint.good("no violations"));
  else
    lines.push(
      paint.bad(counted(violations.length, "violation")),
      ...violationLines(violations),
      `to see it again: ${command}`,
    );
  return lines;
}

function brokenLine({ vcpus, design }: SimulatedPoint, law: LawRow): string {
  const where = law.lock === null ? "" : ` on the ${law.lock} lock`;
  return (
    `${counted(vcpus, "vCPU")}, ${design}: the law of ${law.law}${where} does not hold: ` +
    `expected ${count(law.expected)}, measured ${count(law.measured)}`
  );
}
