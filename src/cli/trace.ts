/** `umbra trace verify | switches | modes | info | cut`: recorded guests. */
import { verifyEachSwitch } from "../engines/replay/each-switch.ts";
import { compareModes } from "../engines/replay/compare-modes.ts";
import { cutTrace } from "../engines/replay/cut-trace.ts";
import { traceInfo } from "../engines/replay/trace-info.ts";
import { verifyTrace } from "../engines/replay/verify.ts";
import { wholeNumber } from "../engines/usage.ts";
import { eachSwitchText, isRight } from "../report/each-switch-text.ts";
import { modesText } from "../report/modes-text.ts";
import { progressLine } from "../report/progress.ts";
import { cutText, traceInfoText } from "../report/trace-text.ts";
import type {
  CutResult,
  EachSwitchResult,
  ModesResult,
  TraceInfoResult,
  VerifyResult,
} from "../report/types.ts";
import { mismatchesOf, verifyText } from "../report/verify-text.ts";
import { ExitCode, exitCodeOf, failureLine } from "./context.ts";
import type { Context } from "./context.ts";

/** What a command came to, to be put out by whoever called it. */
export interface Told<Result> {
  readonly result: Result;
  /** The report for people. */
  readonly text: string;
  readonly code: number;
  /** Why the run itself failed, if it did. */
  readonly failure?: string | undefined;
}

/** What of the context these commands use. */
export type TraceContext = Pick<Context, "paint" | "showsProgress" | "interruption">;

/** Options of `umbra trace verify`, as they stand on the command line. */
export interface TraceVerifyOptions {
  /** strict or causal. */
  readonly order?: string | undefined;
  readonly preset?: string | undefined;
  readonly set?: readonly string[] | undefined;
}

/** Options of `umbra trace cut`. */
export interface TraceCutOptions {
  readonly records: string;
  readonly out: string;
}

/** Replays a trace through shadow pagetables. Throws UsageError for bad input. */
export async function runTraceVerify(
  file: string,
  options: TraceVerifyOptions,
  context: TraceContext,
): Promise<Told<VerifyResult>> {
  const progress = progressLine("trace verify", context.showsProgress);
  try {
    const result = await verifyTrace(
      { file, ...options },
      {
        interruption: context.interruption,
        onProgress: (fraction) => {
          progress.update(fraction, "");
        },
      },
    );
    const code = verifyExitCode(result);
    return { result, text: verifyText(result, context.paint), code, failure: failureLine(code, result) };
  } finally {
    progress.stop();
  }
}

/** Replays a trace under every preset and with every switch the other way round. Throws UsageError for bad input. */
export async function runTraceSwitches(file: string, context: TraceContext): Promise<Told<EachSwitchResult>> {
  const progress = progressLine("trace switches", context.showsProgress);
  try {
    const result = await verifyEachSwitch(file, {
      interruption: context.interruption,
      onProgress: (fraction) => {
        progress.update(fraction, "");
      },
    });
    const wrong = result.runs.find((run) => !isRight(run))?.result;
    const code = wrong === undefined ? ExitCode.ok : verifyExitCode(wrong);
    const failure = wrong === undefined ? undefined : failureLine(code, wrong);
    return { result, text: eachSwitchText(result, context.paint), code, failure };
  } finally {
    progress.stop();
  }
}

/** Replays a trace in both modes of assistance, and compares them. Throws UsageError for bad input. */
export async function runTraceModes(
  file: string,
  options: Omit<TraceVerifyOptions, "order">,
  context: TraceContext,
): Promise<Told<ModesResult>> {
  const progress = progressLine("trace modes", context.showsProgress);
  try {
    const result = await compareModes(
      { file, ...options },
      {
        interruption: context.interruption,
        onProgress: (fraction) => {
          progress.update(fraction, "");
        },
      },
    );
    const code = modesExitCode(result);
    const ended = result.shadow.outcome === "completed" ? result.hap : result.shadow;
    return { result, text: modesText(result, context.paint), code, failure: failureLine(code, ended) };
  } finally {
    progress.stop();
  }
}

/** Tells what is in a trace. Throws UsageError for bad input. */
export async function runTraceInfo(file: string, context: TraceContext): Promise<Told<TraceInfoResult>> {
  const result = traceInfo(file);
  return Promise.resolve({ result, text: traceInfoText(result, context.paint), code: ExitCode.ok });
}

/** Writes the beginning of a trace as a trace. Throws UsageError for bad input, RunError when it cannot be written. */
export async function runTraceCut(file: string, options: TraceCutOptions): Promise<Told<CutResult>> {
  const records = wholeNumber("--records", options.records, { min: 1, max: Number.MAX_SAFE_INTEGER });
  const result = await cutTrace(file, records, options.out);
  return { result, text: cutText(result), code: ExitCode.ok };
}

/** A difference between the modes is a violation; else each replay speaks for itself. */
export function modesExitCode({ differences, shadow, hap }: ModesResult): number {
  const codes = [verifyExitCode(shadow), verifyExitCode(hap)];
  if (differences > 0 || codes.includes(ExitCode.violation)) return ExitCode.violation;
  return codes.find((code) => code !== ExitCode.ok) ?? ExitCode.ok;
}

/** What was found weighs more than the way in which the replay ended. */
export function verifyExitCode(result: VerifyResult): number {
  const { outcome, signal, violations } = result;
  if (violations.length > 0 || mismatchesOf(result) > 0) return ExitCode.violation;
  if (outcome === "completed") return ExitCode.ok;
  return outcome === "interrupted" ? exitCodeOf(signal) : ExitCode.failed;
}
