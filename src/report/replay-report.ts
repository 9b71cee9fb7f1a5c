/** A failure that was run again, as a text for people. */
import { failureLines } from "./explore-report.ts";
import type { TraceDetail } from "./explore-report.ts";
import type { ReplayResult } from "./explore-result.ts";
import type { Paint } from "./text.ts";

/** The whole report. */
export function replayReport(result: ReplayResult, paint: Paint, width: number, detail: TraceDetail): string {
  const { failure, fails, isSameCode, divergence } = result;
  const lines: string[] = [];
  if (!isSameCode)
    lines.push("the code has changed since this was found: its schedule is followed as far as it fits");
  if (divergence !== null) lines.push(paint.bad(`it goes another way from ${divergence}`));
  lines.push(...failureLines(failure, paint, width, detail));
  lines.push(
    fails
      ? paint.bad(`fails again with ${failure.key}`)
      : paint.good(`does not fail with ${failure.key} any more`),
    "",
  );
  return lines.join("\n");
}
