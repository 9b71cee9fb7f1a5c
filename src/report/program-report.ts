/** What exploring a user's program found, as text for a failing test. */
import type { ExploreViolation, Switches, TraceRow } from "./explore-result.ts";
import { interleavingTable } from "./interleaving-table.ts";

const WIDTH = 120;

/** A result, as far as the report needs it. */
export interface ProgramFindings {
  readonly program: string;
  readonly executions: number;
  readonly points: number;
  readonly capped: number;
  readonly completed: string | null;
  readonly nondeterminism: string | null;
  readonly failure: {
    readonly violations: readonly ExploreViolation[];
    readonly orders: readonly { readonly first: number; readonly second: number }[];
    readonly threads: readonly string[];
    readonly trace: readonly TraceRow[];
    readonly after: Switches;
    readonly schedule: string;
  } | null;
}

/** What is wrong, the interleaving that shows it, and how to see it again; or what was tried. */
export function programReport(findings: ProgramFindings): string {
  const { program, executions, capped, completed, nondeterminism, failure } = findings;
  const tried = `${String(executions)} executions of ${program.replace(/^file:\/\//, "")}`;
  if (nondeterminism !== null)
    return `${tried}: ${nondeterminism}: time or chance decides in it, or an earlier execution`;
  if (failure === null) {
    const share = completed === null ? "" : `, ${completed}`;
    const cut = capped === 0 ? "" : `; ${String(capped)} were given up after too many steps`;
    return `${tried}${share}: none fails${cut}`;
  }
  const { violations, trace, threads, orders, after, schedule } = failure;
  const words = [
    ...new Set(violations.map(({ thread, message }) => `${threads[thread] ?? "all"}: ${message}`)),
  ];
  return [
    ...words,
    `after ${tried}; ${String(after.switches)} switches suffice:`,
    "",
    ...interleavingTable({ trace, threads, orders }, WIDTH, "min"),
    "",
    `to see it again: explore(…, { schedule: "${schedule}" })`,
  ].join("\n");
}
