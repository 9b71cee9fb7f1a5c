/** `umbra replay`, `umbra minimise` and `umbra explain`: a failure of the explorer, seen again. */
import { createInterface } from "node:readline/promises";
import process from "node:process";
import { Command } from "commander";
import { replayFailure } from "../engines/explore/failures/replay-failure.ts";
import type { ReplayPurpose } from "../engines/explore/failures/replay-failure.ts";
import { UsageError } from "../engines/errors.ts";
import { rowText } from "../report/interleaving-table.ts";
import { replayReport } from "../report/replay-report.ts";
import type { ReplayResult } from "../report/types.ts";
import { ExitCode } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";

interface ReplayFlags {
  readonly trace?: string;
  readonly step?: boolean;
  readonly json?: string;
}

const ABOUT: Readonly<Record<ReplayPurpose, string>> = {
  replay: "run a failure of umbra explore again, and check that it goes as it did",
  minimise: "cut a failure's schedule down to the switches that it needs",
  explain: "find the orders that a failure needs, and print them before how it goes",
};

/** The three commands. `end` is told the exit code of the one that runs. */
export function replayCommands(context: Context, end: (code: number) => void): Command[] {
  return (["replay", "minimise", "explain"] as const).map((purpose) =>
    new Command(purpose)
      .description(ABOUT[purpose])
      .argument("<failure>", "a folder or file below failures/, or a token")
      .option("--trace <detail>", "min: what the failure needs; full: every operation (min unless said)")
      .option("--step", "one operation after another, each when a line is entered")
      .option("--json <file>", "write the result as JSON; - is standard output")
      .addHelpText("after", `\nExample:\n  umbra ${purpose} failures/latest\n`)
      .action(async (failure: string, flags: ReplayFlags) => {
        end(await show(context, await replayFailure(failure, purpose), flags));
      }),
  );
}

async function show(
  context: Context,
  result: ReplayResult,
  { trace, step, json }: ReplayFlags,
): Promise<number> {
  const detail = trace ?? "min";
  if (detail !== "min" && detail !== "full")
    throw new UsageError(`--trace wants min or full, got "${detail}"`);
  if (step === true) await stepThrough(context, result);
  const text = replayReport(result, context.paint, context.width, detail);
  return putOut(context, { result, text, json, code: codeOf(result) });
}

/** Another failure is one too; and an execution that was cut proves nothing. */
function codeOf({ fails, otherwise, isCapped }: ReplayResult): number {
  if (fails || otherwise.length > 0) return ExitCode.violation;
  return isCapped ? ExitCode.inconclusive : ExitCode.ok;
}

/** Shows one operation a line that is entered; the end of the input shows the rest. */
async function stepThrough(context: Context, { failure }: ReplayResult): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  const entered = lines[Symbol.asyncIterator]();
  let isOpen = true;
  for (const row of failure.trace) {
    context.out(`${rowText(row, failure.threads)}\n`);
    // oxlint-disable-next-line no-await-in-loop -- one line after another is what was asked for
    if (isOpen) isOpen = (await entered.next()).done !== true;
  }
  lines.close();
}
