/** The first thing that people see of Umbra, so it says what each number means. */
import type { StressResult } from "./stress-result.ts";
import { stressReport } from "./stress-report.ts";
import { count, counted, indent, seconds } from "./text.ts";
import type { Paint } from "./text.ts";
import type { VerifyResult } from "./verify-result.ts";
import { mismatchesOf, recordsText } from "./verify-text.ts";

/** What comes before the first replay. */
export function startHeading(traces: number, paint: Paint): string {
  return [
    `${paint.bold(`1. ${counted(traces, "recorded Linux guest")}`)}, replayed through Xen's shadow pagetables, a thread for each vCPU.`,
    "   Every translation, page fault and pagetable store must come out as it was recorded.",
    "",
  ].join("\n");
}

/** One replay, in two or three lines. */
export function replayLines(result: VerifyResult, paint: Paint): string {
  const wrong = mismatchesOf(result) + result.violations.length;
  const isFine = wrong === 0 && result.outcome === "completed";
  const verdict = isFine
    ? paint.good("all as recorded")
    : paint.bad(`${counted(wrong, "mismatch", "mismatches")}, ${result.outcome}`);
  const lines = [
    `${result.file}: ${verdict}, ${recordsText(result)} in ${seconds(result.seconds)}`,
    `  ${count(result.fills)} translations, ${counted(result.faults, "injected fault")}, ` +
      `${counted(result.stores, "pagetable store")} (${count(result.emulatedStores)} trapped and emulated)`,
  ];
  if (result.reason !== null) lines.push(`  ${result.reason}`);
  for (const each of result.first) lines.push(...each.map((line) => `    ${line}`));
  for (const { check, message } of result.violations) lines.push(`    ${check}: ${message}`);
  if (!isFine) lines.push(`  to see it again: ${result.command}`);
  return `${indent(lines.join("\n"))}\n`;
}

/** What comes before the scenario. */
export function scenarioHeading(about: string, vcpus: number, paint: Paint): string {
  return [
    "",
    `${paint.bold(`2. One scenario on ${counted(vcpus, "vCPU")}`)}, each a thread at full speed: ${about}.`,
    "   All are parked every 100 ms or sooner, and the whole machine is checked.",
    "",
  ].join("\n");
}

/** The scenario's report, and where to go from here. */
export function scenarioSection(result: StressResult, paint: Paint): string {
  return [
    indent(stressReport(result, paint)),
    paint.bold("Next"),
    "  umbra list                                 the scenarios",
    "  umbra stress <scenario> --vs talk-before   what the talk's optimisations bring",
    "  umbra --help                               everything else",
    "",
  ].join("\n");
}
