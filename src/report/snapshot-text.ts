/** What `umbra snapshot verify` prints. */
import type { SnapshotResult } from "./snapshot-result.ts";
import { count, counted } from "./text.ts";
import type { Paint } from "./text.ts";
import { violationLines } from "./violation-lines.ts";

/** A result as text, ending in a newline. */
export function snapshotText(result: SnapshotResult, paint: Paint): string {
  const { listing, cpu, levels, preset, mappings, largePages, devices, pieces, tablePages } = result;
  const { first, differences, unlisted, violations, command } = result;
  const lines = [
    paint.bold(`${listing}: ${counted(mappings, "mapping")} of CPU ${String(cpu)}`),
    `${String(levels)} levels, preset ${preset}; ${counted(largePages, "large page")}, ` +
      `${counted(devices, "device page")}; ${counted(pieces, "piece")} of 4 KiB touched, ` +
      `${counted(tablePages, "page")} found to be pagetables`,
    ...first,
  ];
  const more = differences + unlisted - first.length;
  if (more > 0) lines.push(`and ${counted(more, "difference")} more`);
  if (violations.length > 0) {
    lines.push(paint.bad(counted(violations.length, "violation")), ...violationLines(violations));
  }
  if (unlisted > 0) lines.push(paint.bad(`${counted(unlisted, "mapping")} with no line in the listing`));
  const isFlawless = differences + unlisted + violations.length === 0;
  if (isFlawless) lines.push(paint.good("every shadow is what its mapping asks for"));
  else {
    lines.push(
      paint.bad(`${counted(differences, "mapping")} of ${count(mappings)} with a wrong shadow`),
      `to see it again: ${command}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
