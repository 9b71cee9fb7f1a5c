/** `umbra ablate`: what each of the talk's optimisations is worth on a workload, in virtual time. */
import { Command } from "commander";
import { WORKLOADS, planAblate } from "../engines/ablate/ablate-plan.ts";
import type { AblateRequest } from "../engines/ablate/ablate-plan.ts";
import { runAblate } from "../engines/ablate/run-ablate.ts";
import { BUNDLED_MODELS } from "../engines/simulate/cost-model.ts";
import { ablateReport } from "../report/ablate-report.ts";
import { progressLine } from "../report/progress.ts";
import type { AblateResult } from "../report/types.ts";
import { ExitCode, exitCodeOf } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";

type AblateFlags = AblateRequest & { readonly json?: string };

/** The command. `end` is told its exit code. */
export function ablateCommand(context: Context, end: (code: number) => void): Command {
  return new Command("ablate")
    .description("measure what each optimisation is worth: alone, when it alone is missing, and in turn")
    .requiredOption("--workload <name>", `${WORKLOADS.join(", ")}, or a recorded guest (x.trace.gz)`)
    .option("--vcpus <n>", "vCPUs (1 unless said)")
    .option("--cost <model>", `${BUNDLED_MODELS.join(", ")}, or a file with a model (core2-2007 unless said)`)
    .option("--milliseconds <m>", "virtual time to measure each machine for (10 unless said)")
    .option("--seed <k>", "seed of all randomness; drawn and told unless said")
    .option("--guest <format>", "2level, pae or 4level")
    .option("--json <file>", "write the result as JSON; - is standard output")
    .addHelpText("after", "\nExample:\n  umbra ablate --workload office --seed 1\n")
    .action(async ({ json, ...request }: AblateFlags) => {
      end(await ablate(context, request, json));
    });
}

async function ablate(context: Context, request: AblateRequest, json: string | undefined): Promise<number> {
  const plan = await planAblate(request);
  if (json !== "-") context.out(`${plan.command}\n`);
  const progress = progressLine(plan.settings.workload, context.showsProgress);
  let result: AblateResult;
  try {
    result = await runAblate(plan, { interruption: context.interruption, onProgress: progress.update });
  } finally {
    progress.stop();
  }
  const code = ablateExitCode(result);
  const failure = code === ExitCode.failed ? (result.reason ?? "a law of queues does not hold") : undefined;
  return putOut(context, { result, text: ablateReport(result, context.paint), json, code, failure });
}

/** A violation weighs more than how the run ended; a broken law is the simulator's own failure. */
function ablateExitCode({ violations, outcome, signal, brokenLaws, rows }: AblateResult): number {
  if (violations.length > 0) return ExitCode.violation;
  if (outcome === "interrupted") return exitCodeOf(signal);
  if (outcome === "worker-died" || brokenLaws > 0) return ExitCode.failed;
  const isWhole = rows.every(({ nanosPerOperation }) => nanosPerOperation !== null);
  return isWhole ? ExitCode.ok : ExitCode.inconclusive;
}
