/** What `umbra ablate` prints: a table for each question, and the answers in words. */
import type { AblateResult, AblationCount, AblationGroup, AblationRow } from "./ablate-result.ts";
import { outcomeText } from "./outcome-text.ts";
import { counted, table } from "./text.ts";
import type { Paint } from "./text.ts";
import { violationLines } from "./violation-lines.ts";

const COUNTS: readonly (readonly [AblationCount, string])[] = [
  ["exits", "exits"],
  ["fastFaults", "fast\nfaults"],
  ["slowFaults", "walked\nfaults"],
  ["lockHolds", "lock\nholds"],
  ["emulations", "emulated\nstores"],
  ["shadowsMade", "shadows\nmade"],
  ["flushes", "flushes"],
];

const GROUPS: readonly (readonly [AblationGroup, string])[] = [
  ["slide", "The slide's A and B; gains against A"],
  ["alone", "Each optimisation alone; gains against none"],
  ["all but one", "All optimisations but one; the gain is what putting it back saves"],
  ["history", "One after another, in the order in which they came; gains against the line above"],
];

/** The whole report. */
export function ablateReport(result: AblateResult, paint: Paint): string {
  const { workload, vcpus, guest, seed, milliseconds, cost } = result.settings;
  const groups = GROUPS.flatMap(([group, title]) => [
    title,
    groupTable(result.rows.filter((row) => row.group === group)),
  ]);
  return [
    paint.bold(
      `${workload}, ${guest} guest, ${counted(vcpus, "vCPU")}${seed === null ? "" : `, seed ${String(seed)}`}, costs ${cost}`,
    ),
    milliseconds === null
      ? "a recording: times are of what is counted, without accesses; counts for 1,000 records"
      : `${String(milliseconds)} ms of virtual time for each machine; counts for 1,000 guest operations`,
    ...groups,
    ...slideLines(result, paint),
    ...publishedLines(result, paint),
    ...endLines(result, paint),
    "",
  ].join("\n");
}

function groupTable(rows: readonly AblationRow[]): string {
  return table(
    ["", "ns an\noperation", "saves", ...COUNTS.map(([, head]) => head)],
    rows.map(({ name, nanosPerOperation, gain, perThousand }) => [
      name,
      nanosPerOperation === null ? "-" : nanosPerOperation.toFixed(1),
      gain === null ? "" : percent(gain),
      ...COUNTS.map(([count]) => perThousand?.[count].toFixed(1) ?? "-"),
    ]),
  );
}

/** The slide's finding, in words: most of the office benchmark's gain came from the fast path and prefetch. */
function slideLines({ slide, rows, settings }: AblateResult, paint: Paint): string[] {
  const isMeasured = rows.every(({ nanosPerOperation }) => nanosPerOperation !== null);
  if (slide === null && !isMeasured) return [];
  if (slide === null)
    return [paint.bad("B is no faster than A here: the slide's finding cannot be asked for.")];
  const { gain, broughtAlone, lostWithout, holds } = slide;
  const finding = `The slide's finding ${holds ? "holds" : "does not hold"} here:`;
  return [
    `${holds ? paint.good(finding) : paint.bad(finding)} B takes ${percent(gain)} less time than A. Of that gain fast path and prefetch`,
    `bring ${percent(broughtAlone)} with nothing else on, and ${percent(lostWithout)} of it goes when they are taken from B.`,
    ...(settings.workload === "office" ? [] : ["The slide speaks of office work, which this is not."]),
  ];
}

function publishedLines({ outOfSync, hasPublishedOrder }: AblateResult, paint: Paint): string[] {
  if (outOfSync.length === 0) return [];
  const lines = [
    "Out-of-sync shadows on a build, costs core2-2007, beside what was published (DDK build, Core 2 6420)",
    table(
      ["guest", "vCPUs", "ns before", "ns after", "saves", "published", "difference"],
      outOfSync.map(({ guest, vcpus, before, after, gain, published }) => [
        guest,
        String(vcpus),
        before.toFixed(1),
        after.toFixed(1),
        percent(gain),
        percent(published),
        percent(gain - published),
      ]),
    ),
  ];
  if (hasPublishedOrder === null) return lines;
  const said = hasPublishedOrder
    ? paint.good("The gains come in the published order.")
    : paint.bad("The gains do not come in the published order.");
  return [...lines, said];
}

function endLines(result: AblateResult, paint: Paint): string[] {
  const { violations, brokenLaws, outcome, command } = result;
  const lines = outcome === "completed" ? [] : [paint.bad(outcomeText(result))];
  if (brokenLaws > 0) lines.push(paint.bad(`${counted(brokenLaws, "law")} of queues did not hold`));
  if (violations.length === 0) return [...lines, paint.good("no violations")];
  const found = paint.bad(counted(violations.length, "violation"));
  return [...lines, found, ...violationLines(violations), `to see it again: ${command}`];
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
