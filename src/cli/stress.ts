/** `umbra stress`: vCPUs at full speed on real threads. */
import { runCompare } from "../engines/stress/compare.ts";
import { writeStressFile } from "../engines/explore/failures/stress-file.ts";
import { UsageError } from "../engines/errors.ts";
import { planStress } from "../engines/stress/plan.ts";
import type { StressPlan, StressRequest } from "../engines/stress/plan.ts";
import { runStress } from "../engines/stress/engine.ts";
import { compareReport } from "../report/compare-report.ts";
import { foldedStacks } from "../report/folded-stacks.ts";
import type { Waited } from "../report/folded-stacks.ts";
import { progressLine } from "../report/progress.ts";
import { stressReport } from "../report/stress-report.ts";
import type { CompareResult, StressResult } from "../report/types.ts";
import { ExitCode, exitCodeOf, failureLine } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";

/** What the command is given besides the request. */
export interface StressOutput {
  /** File for the result as JSON. */
  readonly json?: string | undefined;
  /** File for waits for locks as folded stacks. */
  readonly folded?: string | undefined;
  /** Folder for what failed. */
  readonly failures?: string | undefined;
}

/** Runs the command; its exit code. */
export async function stressCommand(
  context: Context,
  request: StressRequest,
  { json, folded: file, failures = "failures" }: StressOutput,
): Promise<number> {
  if (request.vs !== undefined && file !== undefined)
    throw new UsageError("--folded and --vs: a comparison has no stacks of its own");
  const plan = await planStress(request);
  // Told before the run too: one that is killed can still be repeated.
  if (json !== "-") context.out(`${plan.command}\n`);
  const { vs } = request;
  if (vs !== undefined) {
    const result = await withProgress(context, plan, (hooks) => runCompare(plan, { ...request, vs }, hooks));
    return putOut(context, { ...told(result), text: compareReport(result, context.paint), json });
  }
  const result = await withProgress(context, plan, (hooks) => runStress(plan, hooks));
  const near =
    result.violations.length === 0 ? null : await writeStressFile(failures, request.scenario, result);
  if (near !== null && json !== "-") context.out(`to search near it: umbra explore --from ${near}\n`);
  const folded = file === undefined ? undefined : { file, text: foldedStacks(waitedIn(result)) };
  return putOut(context, { ...told(result), text: stressReport(result, context.paint), json, folded });
}

function waitedIn({ waits, lockPlaces, settings }: StressResult): Waited {
  return { waits, places: lockPlaces, vcpus: settings.vcpus };
}

function told<Result extends StressResult | CompareResult>(
  result: Result,
): { result: Result; code: number; failure: string | undefined } {
  const code = stressExitCode(result);
  return { result, code, failure: failureLine(code, result) };
}

/** A violation weighs more than the way in which the run ended. */
export function stressExitCode({
  outcome,
  signal,
  violations,
}: Pick<StressResult, "outcome" | "signal" | "violations">): number {
  if (violations.length > 0) return ExitCode.violation;
  if (outcome === "completed") return ExitCode.ok;
  return outcome === "interrupted" ? exitCodeOf(signal) : ExitCode.failed;
}

/** Runs something with a progress line, which is gone when it ends. */
export async function withProgress<Result>(
  context: Context,
  plan: StressPlan,
  run: (hooks: {
    interruption: AbortSignal;
    onProgress: (fraction: number, note: string) => void;
  }) => Promise<Result>,
): Promise<Result> {
  // A run that is limited by operations has no known length.
  const progress = progressLine(plan.settings.scenario, context.showsProgress && plan.seconds !== null);
  try {
    return await run({ interruption: context.interruption, onProgress: progress.update });
  } finally {
    progress.stop();
  }
}
