/** What exploring a user's program found, as text for a failing test. */
import { relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { failureLines } from "./explore-report.ts";
import type { ExploreFailure } from "./explore-result.ts";
import { PLAIN, counted } from "./text.ts";

const WIDTH = 120;

/** A result, as far as the report needs it. */
export interface ProgramFindings {
  readonly program: string;
  readonly executions: number;
  readonly points: number;
  readonly capped: number;
  readonly completed: string | null;
  readonly nondeterminism: string | null;
  readonly failure: (ExploreFailure & { readonly schedule: string }) | null;
}

/** What is wrong, the interleaving that shows it, and how to see it again; or what was tried. */
export function programReport(findings: ProgramFindings): string {
  const { program, executions, capped, completed, nondeterminism, failure } = findings;
  const tried = `${counted(executions, "execution")} of ${relative(process.cwd(), fileURLToPath(program))}`;
  if (nondeterminism !== null)
    return `${tried}: ${nondeterminism}: time or chance decides in it, or an earlier execution`;
  if (failure === null) {
    const share = completed === null ? "" : `, ${completed}`;
    const cut =
      capped === 0
        ? ""
        : `; but ${String(capped)} were given up after too many steps, which is inconclusive: raise option steps, or bound the loop that goes on`;
    return `${tried}${share}: none fails${cut}`;
  }
  return [
    `${tried}: one fails`,
    ...failureLines(failure, PLAIN, WIDTH, "min").slice(0, -1),
    `to see it again: npx umbra replay '${failure.token}'`,
    `or in a test: explore(…, { schedule: "${failure.schedule}" })`,
  ].join("\n");
}
