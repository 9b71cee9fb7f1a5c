/** A calibration as a text for people. */
import type { CalibrateResult, MeasuredTime } from "./calibrate-result.ts";
import { outcomeText } from "./outcome-text.ts";
import { count, percent, table } from "./text.ts";
import type { Paint } from "./text.ts";

/** No time of a quiet computer is so uneven. */
const UNEVEN = 0.5;

/** The whole report. */
export function calibrateReport(result: CalibrateResult, paint: Paint): string {
  const { host, primitives, workloads, costs, output } = result;
  const { processor, cores, node } = host;
  const head = paint.bold(`${processor}, ${String(cores)} cores, Node ${node}`);
  if (output === null) return `${head}\n${paint.bad(outcomeText(result))}\n`;
  return [
    head,
    paint.bold("measured"),
    table(
      ["", "ns", "rounds", "spread", "what it is"],
      primitives.map((each) => [
        each.name,
        nanosText(each.nanos),
        count(each.rounds),
        percent(each.spread),
        each.about,
      ]),
    ),
    `${paint.bold("workloads on one vCPU")} ${paint.faint("(nanoseconds of a guest operation)")}`,
    table(
      ["", "measured", "rounds", "spread", "fitted", "off by"],
      workloads.map(({ name, nanos, rounds, spread, fitted }) => [
        name,
        nanosText(nanos),
        count(rounds),
        percent(spread),
        nanosText(fitted),
        percent(fitted / nanos - 1),
      ]),
    ),
    paint.bold("cost model"),
    table(
      ["", "value"],
      costs.map(({ path, value }) => [path, count(value)]),
    ),
    ...busyLines(result, paint),
    `${output}: umbra simulate <scenario> --cost ${costPath(output)}`,
    "",
  ].join("\n");
}

/** Whatever else a computer does makes rounds uneven: what was measured on a busy one is of no use to anybody. */
function busyLines({ primitives, workloads }: CalibrateResult, paint: Paint): string[] {
  const all = [...primitives, ...workloads];
  const uneven = all.filter(({ spread }) => spread > UNEVEN);
  if (uneven.length === 0) return [];
  return [
    paint.bad(
      `${count(uneven.length)} of ${count(all.length)} times have a spread above ${percent(UNEVEN)}: the computer was busy with ` +
        "something else, or sleepy; measure again when it is not",
    ),
  ];
}

function nanosText(nanos: MeasuredTime["nanos"]): string {
  return nanos < 100 ? nanos.toFixed(1) : count(nanos);
}

function costPath(output: string): string {
  return output.includes("/") ? output : `./${output}`;
}
