/** `umbra conform FILE`: the walker against recorded answers. */
import { Command } from "commander";
import { conform } from "../engines/conform.ts";
import { conformText } from "../report/conform-text.ts";
import { progressLine } from "../report/progress.ts";
import { ExitCode } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";

/** Options of the command. */
export interface ConformOptions {
  /** File for the result as JSON. */
  readonly json?: string | undefined;
}

/** The command, to be added to the program. `end` is told its exit code. */
export function conformCommand(context: Context, end: (code: number) => void): Command {
  return new Command("conform")
    .summary("check the pagetable walker against recorded walks")
    .description(
      "Runs every walk of a file (NDJSON, compressed with gzip or not) through the pagetable walker and compares " +
        "outcome, error code, accessed and dirty bits. Exit code 0: all agree; 1: some differ; 2: bad input.",
    )
    .argument("<file>", "walks.ndjson.gz or access.ndjson.gz")
    .option("--json <file>", "write the result as JSON; - is standard output")
    .addHelpText("after", "\nExample:\n  umbra conform walks.ndjson.gz\n")
    .action(async (file: string, options: ConformOptions) => {
      end(await runConform(file, options, context));
    });
}

/**
 * Runs the command; the exit code.
 *
 * @throws UsageError for bad input.
 */
export async function runConform(file: string, { json }: ConformOptions, context: Context): Promise<number> {
  const progress = progressLine("conform", context.showsProgress);
  try {
    const result = await conform(file, (fraction) => {
      progress.update(fraction, "");
    });
    progress.stop();
    const code = result.mismatches === 0 ? ExitCode.ok : ExitCode.violation;
    return await putOut(context, { result, text: conformText(result), json, code });
  } finally {
    progress.stop();
  }
}
