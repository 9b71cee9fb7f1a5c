/** What `umbra trace switches` prints: a line for each replay, with what its setting brings and costs. */
import type { EachSwitchResult, SwitchRun } from "./each-switch-result.ts";
import { count, counted, table } from "./text.ts";
import type { Paint } from "./text.ts";
import { mismatchesOf } from "./verify-text.ts";

/** A result as text, ending in a newline. */
export function eachSwitchText({ file, runs }: EachSwitchResult, paint: Paint): string {
  const wrong = runs.filter((run) => !isRight(run));
  return [
    paint.bold(`${file}: ${counted(runs.length, "replay")}`),
    table(HEAD, runs.map(row), 2),
    ...wrong.map(({ result }) => `to see it again: ${result.command}`),
    wrong.length === 0
      ? paint.good("everything agrees with the recording in all of them")
      : paint.bad(
          `${counted(wrong.length, "replay")} did not agree with the recording or did not come to an end`,
        ),
    "",
  ].join("\n");
}

/** Whether a replay came to its end and found nothing. */
export function isRight({ result }: SwitchRun): boolean {
  return result.outcome === "completed" && result.violations.length === 0 && mismatchesOf(result) === 0;
}

const HEAD = [
  "preset",
  "with",
  "mismatches",
  "violations",
  "#PF exits",
  "exits",
  "lock taken",
  "emulated",
  "flushes",
];

function row({ preset, set, result }: SwitchRun): string[] {
  const { counters, violations, demandFaults, lockAcquisitions, emulatedStores, flushes } = result;
  const ended = result.outcome === "completed" ? count(mismatchesOf(result)) : result.outcome;
  const numbers = [
    violations.length,
    demandFaults,
    counters["exits"] ?? 0,
    lockAcquisitions,
    emulatedStores,
    flushes,
  ];
  return [preset, set ?? "", ended, ...numbers.map(count)];
}
