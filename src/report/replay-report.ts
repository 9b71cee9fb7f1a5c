/** A failure that was run again, as a text for people. */
import { failureLines } from "./explore-report.ts";
import { interleavingTable } from "./interleaving-table.ts";
import type { TraceDetail } from "./explore-report.ts";
import type { ReplayResult } from "./explore-result.ts";
import { fitted } from "./text.ts";
import type { Paint } from "./text.ts";

/** The whole report. */
export function replayReport(result: ReplayResult, paint: Paint, width: number, detail: TraceDetail): string {
  const { failure, fails, isSameCode, divergence } = result;
  const lines: string[] = [];
  if (!isSameCode)
    lines.push("the code has changed since this was found: its schedule is followed as far as it fits");
  if (divergence !== null) lines.push(paint.bad(`it goes another way from ${divergence}`));
  if (fails) lines.push(...failureLines(failure, paint, width, detail));
  else lines.push(...interleavingTable(failure, width, detail));
  lines.push(
    fails
      ? paint.bad(`fails again with ${failure.key}`)
      : paint.good(`does not fail with ${failure.key} any more`),
    "",
  );
  return fitted(lines, width).join("\n");
}
