/** `umbra start`: what Umbra does, shown in under a minute. */
/* oxlint-disable no-await-in-loop -- one replay after another, each with all cores to itself */
import { verifyTrace } from "../engines/replay/verify.ts";
import { bundledTraces } from "../engines/scenario-files.ts";
import { planStress } from "../engines/stress/plan.ts";
import { runStress } from "../engines/stress/engine.ts";
import { progressLine } from "../report/progress.ts";
import { replayLines, scenarioHeading, scenarioSection, startHeading } from "../report/start-report.ts";
import { mismatchesOf } from "../report/verify-text.ts";
import type { StartResult, StressResult, VerifyResult } from "../report/types.ts";
import { ExitCode, exitCodeOf, failureLine } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";
import { stressExitCode, withProgress } from "./stress.ts";

const SCENARIO = "fork-copy-on-write";
const GUEST = "4level";
const VCPUS = "4";
const SECONDS = "10";

/** Runs the command; its exit code. */
export async function startCommand(
  context: Context,
  { json }: { readonly json?: string | undefined },
): Promise<number> {
  const quiet = json === "-";
  const say = (text: string): void => {
    if (!quiet) context.out(text);
  };
  const traces = await replayAll(context, say);
  const isStopped = context.interruption.aborted || traces.some(({ outcome }) => outcome !== "completed");
  const stress = isStopped ? null : await runScenario(context, say);
  const result: StartResult = { engine: "start", traces, stress };
  const code = exitCodeFor(context, result);
  const failed = [...traces, stress].find((run) => run !== null && run.outcome !== "completed");
  const failure = failed ? failureLine(code, failed) : undefined;
  return putOut(context, { result, text: "", json, code, failure });
}

async function replayAll(context: Context, say: (text: string) => void): Promise<VerifyResult[]> {
  const files = bundledTraces();
  say(startHeading(files.length, context.paint));
  const results: VerifyResult[] = [];
  for (const file of files) {
    if (context.interruption.aborted) break;
    const progress = progressLine(file, context.showsProgress);
    try {
      const result = await verifyTrace(
        { file },
        { interruption: context.interruption, onProgress: (fraction) => progress.update(fraction, "") },
      );
      results.push(result);
      progress.stop();
      say(replayLines(result, context.paint));
    } finally {
      progress.stop();
    }
  }
  return results;
}

async function runScenario(context: Context, say: (text: string) => void): Promise<StressResult> {
  const plan = await planStress({ scenario: SCENARIO, guest: GUEST, vcpus: VCPUS, seconds: SECONDS });
  say(scenarioHeading(plan.about, plan.config.vcpus, context.paint));
  say(`  ${plan.command}\n`);
  const result = await withProgress(context, plan, (hooks) => runStress(plan, hooks));
  say(scenarioSection(result, context.paint));
  return result;
}

function exitCodeFor(context: Context, { traces, stress }: StartResult): number {
  const isWrong = traces.some((each) => mismatchesOf(each) + each.violations.length > 0);
  if (isWrong || (stress !== null && stress.violations.length > 0)) return ExitCode.violation;
  if (context.interruption.aborted) return exitCodeOf(String(context.interruption.reason));
  if (traces.some(({ outcome }) => outcome !== "completed")) return ExitCode.failed;
  return stress === null ? ExitCode.failed : stressExitCode(stress);
}
