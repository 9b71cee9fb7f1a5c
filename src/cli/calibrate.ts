/** `umbra calibrate`: what this machine takes for what the model does, as a cost model of the simulator. */
import { Command } from "commander";
import { planCalibrate } from "../engines/calibrate/calibrate-plan.ts";
import type { CalibrateRequest } from "../engines/calibrate/calibrate-plan.ts";
import { runCalibrate } from "../engines/calibrate/calibrate.ts";
import { calibrateReport } from "../report/calibrate-report.ts";
import { progressLine } from "../report/progress.ts";
import type { CalibrateResult } from "../report/types.ts";
import { ExitCode, exitCodeOf } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";

type CalibrateFlags = CalibrateRequest & { readonly json?: string };

/** The command. `end` is told its exit code. */
export function calibrateCommand(context: Context, end: (code: number) => void): Command {
  return new Command("calibrate")
    .description("measure this machine, and write a cost model of it for umbra simulate --cost")
    .option("--output <file>", "the model to write (calibrated.json unless said)")
    .option("--seconds <s>", "how long to measure (60 unless said)")
    .option("--json <file>", "write the result as JSON; - is standard output")
    .addHelpText("after", "\nExample:\n  umbra calibrate --output mine.json\n")
    .action(async ({ json, ...request }: CalibrateFlags) => {
      end(await calibrate(context, request, json));
    });
}

async function calibrate(
  context: Context,
  request: CalibrateRequest,
  json: string | undefined,
): Promise<number> {
  const plan = await planCalibrate(request);
  if (json !== "-") context.out(`${plan.command}\n`);
  const progress = progressLine("calibrate", context.showsProgress);
  let result: CalibrateResult;
  try {
    result = await runCalibrate(plan, { interruption: context.interruption, onProgress: progress.update });
  } finally {
    progress.stop();
  }
  const code = result.outcome === "completed" ? ExitCode.ok : exitCodeOf(result.signal);
  return putOut(context, { result, text: calibrateReport(result, context.paint), json, code });
}
