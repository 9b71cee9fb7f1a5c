/** `umbra mutants`: whether the checks find the historical bugs that they were made for, and nothing without them. */
import { Command } from "commander";
import { planMutants, runMutants } from "../engines/explore/mutants/mutants.ts";
import type { MutantsRequest } from "../engines/explore/mutants/mutants.ts";
import { isFound, mutantsReport } from "../report/mutants-report.ts";
import { progressLine } from "../report/progress.ts";
import type { MutantsResult } from "../report/types.ts";
import { ExitCode, exitCodeOf } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";

type MutantsFlags = Omit<MutantsRequest, "ids"> & { readonly json?: string };

/** The command. `end` is told its exit code. */
export function mutantsCommand(context: Context, end: (code: number) => void): Command {
  return new Command("mutants")
    .description(
      "search for each of the known bugs, put into the machine one at a time, and tell which check found it",
    )
    .argument("[ids...]", "M01 and the like; all of them unless said")
    .option("--full", "by every strategy, not the portfolio alone")
    .option("--seeds <n>", "searches for each, from seeds 1 to n (10 unless said)")
    .option("--seconds <s>", "end a search after so many seconds (60 unless said)")
    .option("--granularity <name>", "of the shadow lock: domain or page (domain unless said)")
    .option("--workers <n>", "worker threads; one for each core unless said")
    .option("--json <file>", "write the result as JSON; - is standard output")
    .addHelpText("after", "\nExample:\n  umbra mutants M01 M20 --seeds 3\n")
    .action(async (ids: readonly string[], { json, ...flags }: MutantsFlags) => {
      end(await mutants(context, { ids, ...flags }, json));
    });
}

async function mutants(context: Context, request: MutantsRequest, json: string | undefined): Promise<number> {
  const plan = planMutants(request);
  if (json !== "-") context.out(`${plan.command}\n`);
  const progress = progressLine("mutants", context.showsProgress);
  let result: MutantsResult;
  try {
    result = await runMutants(plan, { interruption: context.interruption, onProgress: progress.update });
  } finally {
    progress.stop();
  }
  const code = mutantsExitCode(result);
  const failure = result.outcome === "worker-died" ? (result.reason ?? "the run failed") : undefined;
  return putOut(context, { result, text: mutantsReport(result, context.paint), json, code, failure });
}

/** A finding without a mutant is a violation; a mutant that is missed leaves the question open. */
export function mutantsExitCode({ outcome, signal, mutants: rows, cleanViolations }: MutantsResult): number {
  if (cleanViolations > 0) return ExitCode.violation;
  if (outcome === "worker-died") return ExitCode.failed;
  if (outcome === "interrupted") return exitCodeOf(signal);
  return rows.every((row) => isFound(row)) ? ExitCode.ok : ExitCode.inconclusive;
}
