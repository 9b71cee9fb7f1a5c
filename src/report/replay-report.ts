/** A failure that was run again, as a text for people. */
import { failureLines } from "./explore-report.ts";
import { interleavingTable } from "./interleaving-table.ts";
import type { TraceDetail } from "./explore-report.ts";
import type { ReplayResult } from "./explore-result.ts";
import { fitted } from "./text.ts";
import type { Paint } from "./text.ts";

/** The whole report. */
export function replayReport(result: ReplayResult, paint: Paint, width: number, detail: TraceDetail): string {
  const { failure, fails, otherwise, isSameCode, divergence } = result;
  const lines: string[] = [];
  if (!isSameCode)
    lines.push("the code has changed since this was found: its schedule is followed as far as it fits");
  if (divergence !== null) lines.push(paint.bad(`it goes another way from ${divergence}`));
  if (fails || otherwise.length > 0) lines.push(...failureLines(failure, paint, width, detail));
  else lines.push(...interleavingTable(failure, width, detail));
  lines.push(verdict(result, paint), "");
  return fitted(lines, width).join("\n");
}

function verdict({ failure, fails, otherwise, isCapped }: ReplayResult, paint: Paint): string {
  if (fails) return paint.bad(`fails again with ${failure.key}`);
  const gone = `does not fail with ${failure.key} any more`;
  if (otherwise.length > 0) return paint.bad(`${gone}, but with ${otherwise.join(", ")}`);
  return isCapped
    ? paint.bad(`inconclusive: cut at its bound of points; until then it ${gone}`)
    : paint.good(gone);
}
