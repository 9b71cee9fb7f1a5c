/** The table of known bugs: by which check each was found, after how much, and in how few switches it can be shown. */
import type { MutantRow, MutantsResult } from "./mutants-result.ts";
import { count, counted, indent, seconds, table } from "./text.ts";
import type { Paint } from "./text.ts";

const HEAD = [
  "mutant",
  "check",
  "found",
  "schedules\n(median)",
  "points\n(median)",
  "time\n(median)",
  "switches\n(minimised)",
  "clean\npoints",
];

/** The whole report. */
export function mutantsReport(result: MutantsResult, paint: Paint): string {
  const { mutants, seeds, secondsEach, granularity, leftOut } = result;
  return [
    paint.bold(
      `${counted(mutants.length, "mutant")}, portfolio, ${counted(seeds, "seed")} each, at most ${seconds(secondsEach)} a seed` +
        (granularity === "page" ? ", per-page locks" : ""),
    ),
    table(HEAD, mutants.map(rowOf), 2),
    ...strategyTable(mutants),
    "",
    ...mutants.map(({ id, title }) => indent(`${id}: ${title}`)),
    ...(leftOut.length === 0
      ? []
      : [
          indent(
            `left out, as their machines keep one lock or per-page locks make them no bugs: ${leftOut.join(", ")}`,
          ),
        ]),
    ...mutants.flatMap((row) => notes(row, paint)),
    "",
    verdict(result, paint),
    "",
  ].join("\n");
}

function rowOf(row: MutantRow): string[] {
  return [
    row.id,
    row.check ?? "-",
    `${String(row.seedsFound)}/${String(row.seeds)}`,
    optional(row.medianSchedules, count),
    optional(row.medianPoints, count),
    optional(row.medianSeconds, seconds),
    optional(row.minimisedSwitches, count),
    count(row.cleanPoints),
  ];
}

/** Found of how many seeds, by each strategy, and the median of the points that it took. */
function strategyTable(mutants: readonly MutantRow[]): string[] {
  const names = mutants[0]?.strategies.map(({ strategy }) => strategy) ?? [];
  if (names.length === 0) return [];
  const cells = mutants.map(({ id, strategies }) => [
    id,
    ...strategies.map(
      ({ seedsFound, seeds, medianPoints }) =>
        `${String(seedsFound)}/${String(seeds)}\n${optional(medianPoints, count)}`,
    ),
  ]);
  return ["", table(["mutant", ...names], cells)];
}

function notes({ id, others, cleanFindings }: MutantRow, paint: Paint): string[] {
  return [
    ...others.map((each) => indent(`${id} was also seen by what does not count for it: ${each}`)),
    ...cleanFindings.map((each) => indent(paint.bad(`without ${id} there is: ${each}`))),
  ];
}

function verdict(
  { mutants, cleanViolations, seconds: all, outcome, reason }: MutantsResult,
  paint: Paint,
): string {
  if (outcome !== "completed") return paint.bad(`not completed: ${reason ?? outcome}`);
  const missed = mutants.filter((row) => !isFound(row)).map(({ id }) => id);
  const clean =
    cleanViolations === 0
      ? "nothing is reported without them"
      : `${counted(cleanViolations, "finding")} without them`;
  const found =
    missed.length === 0
      ? "every mutant is found in at least 9 of 10 seeds"
      : `not found in at least 9 of 10 seeds: ${missed.join(", ")}`;
  const isGood = missed.length === 0 && cleanViolations === 0;
  const text = `${found}; ${clean} (${seconds(all)})`;
  return isGood ? paint.good(text) : paint.bad(text);
}

/** Whether a mutant counts as found: in at least nine of ten seeds. */
export function isFound({ seedsFound, seeds }: MutantRow): boolean {
  return 10 * seedsFound >= 9 * seeds;
}

function optional(value: number | null, show: (value: number) => string): string {
  return value === null ? "-" : show(value);
}
