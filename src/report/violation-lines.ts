/** Violations as lines of a report. */
import type { Violation } from "./stress-result.ts";
import { count } from "./text.ts";

const SHOWN_MAX = 20;

/** A line for each violation, but not for all of very many. */
export function violationLines(violations: readonly Violation[]): string[] {
  const shown = violations.slice(0, SHOWN_MAX).map(({ check, vcpu, message }) => {
    const where = vcpu < 0 ? "" : ` on vCPU ${String(vcpu)}`;
    return `  ${check}${where}: ${message}`;
  });
  const rest = violations.length - shown.length;
  return rest > 0 ? [...shown, `  and ${count(rest)} more: --json FILE has them all`] : shown;
}
