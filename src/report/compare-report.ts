/** Two presets side by side, as a text for people. */
import type { CompareResult } from "./compare-result.ts";
import { settingsLine, verdict } from "./stress-report.ts";
import { count, counted, ratio, seconds, table } from "./text.ts";
import type { Paint } from "./text.ts";

/** The whole report. Counters are by a thousand guest operations, so that they compare whatever the speed. */
export function compareReport(result: CompareResult, paint: Paint): string {
  const [first, second] = result.sides;
  const heading = `${settingsLine(result.settings)}, against preset ${second.preset}`;
  const slices = `${counted(first.slices, "slice")} of ${first.preset}, ${counted(second.slices, "slice")} of ${second.preset}`;
  const rates = table(
    ["", first.preset, second.preset, "ratio"],
    [
      ["ran", seconds(first.seconds), seconds(second.seconds), ""],
      [
        "operations a second",
        count(first.operationsPerSecond),
        count(second.operationsPerSecond),
        ratio(result.ratios.operationsPerSecond),
      ],
      [
        "faults a second",
        count(first.faultsPerSecond),
        count(second.faultsPerSecond),
        ratio(result.ratios.faultsPerSecond),
      ],
    ],
  );
  const counters = table(
    ["counters by 1,000 operations", first.preset, second.preset, "ratio"],
    Object.entries(result.ratios.counters).map(([name, value]) => [
      name,
      small(first.perThousandOperations[name] ?? 0),
      small(second.perThousandOperations[name] ?? 0),
      ratio(value),
    ]),
  );
  return [
    paint.bold(heading),
    `${slices}, in turn; ${counted(result.audits, "audit")}`,
    rates,
    counters,
    verdict(result, paint),
    "",
  ].join("\n");
}

function small(value: number): string {
  if (value === 0) return "0";
  return value >= 1000 ? count(value) : value.toPrecision(3);
}
