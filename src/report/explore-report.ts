/** An exploration as a text for people: the cause first, then the orders it needs, then who did what when. */
import type { ExploreFailure, ExploreResult } from "./explore-result.ts";
import { interleavingTable } from "./interleaving-table.ts";
import { count, counted, fitted, seconds } from "./text.ts";
import type { Paint } from "./text.ts";

/** How much of a trace is shown. */
export type TraceDetail = "min" | "full";

/** The whole report, in lines of at most `width` characters but for those to be copied. */
export function exploreReport(result: ExploreResult, paint: Paint, width: number): string {
  const lines = [
    paint.bold(heading(result)),
    ...result.failures.flatMap((failure) => ["", ...failureLines(failure, paint, width, "min")]),
    ...(result.failures.length > 0 ? [""] : []),
    ...summary(result),
    verdictLine(result, paint),
    ...(result.failures.length > 0 ? [`to explore again: ${result.command}`] : []),
    "",
  ];
  return fitted(lines, width).join("\n");
}

function heading({ settings }: ExploreResult): string {
  const { scenario, guest, vcpus, strategy, seed, mutant } = settings;
  const what = mutant === null ? scenario : `${mutant} in ${scenario}`;
  return `${what}, ${guest} guest, ${counted(vcpus, "vCPU")}, strategy ${strategy}, seed ${String(seed)}`;
}

/** One failure: what is wrong, what it needs, how it goes, how to see it again. */
export function failureLines(
  failure: ExploreFailure,
  paint: Paint,
  width: number,
  detail: TraceDetail,
): string[] {
  const { replays, token, folder, unwritten } = failure;
  return [
    paint.bad(`${failure.key}, in execution ${count(failure.iteration)}`),
    ...violationLines(failure),
    ...(replays === 1 ? [] : [minimisedLine(failure)]),
    ...orderLines(failure),
    "",
    ...interleavingTable(failure, width, detail),
    "",
    ...(folder === null ? [] : [`files: ${folder}`]),
    ...(unwritten === null ? [] : [paint.bad(`no files: ${unwritten}`)]),
    `to see it again: umbra replay '${token}'`,
  ];
}

function minimisedLine({ before, after, replays }: ExploreFailure): string {
  const switches = `${String(before.switches)} → ${counted(after.switches, "switch", "switches")}`;
  const preemptions = `${String(before.preemptions)} → ${counted(after.preemptions, "preemption")}`;
  return `minimised: ${switches}, ${preemptions} (${counted(replays, "replay")})`;
}

/** What was violated, each once: the same is often seen again and again. */
function violationLines(failure: ExploreFailure): string[] {
  const times = new Map<string, number>();
  for (const { thread, message } of failure.violations) {
    const prefix = threadPrefix(failure, thread);
    const line = `  ${message.startsWith(prefix) ? "" : prefix}${message}`.trimEnd();
    times.set(line, (times.get(line) ?? 0) + 1);
  }
  return [...times].map(([line, seen]) => (seen === 1 ? line : `${line} (${String(seen)} times)`));
}

function threadPrefix({ threads }: ExploreFailure, thread: number): string {
  return thread < 0 ? "" : `${threads[thread] ?? `thread ${String(thread)}`}: `;
}

function orderLines({ orders, trace, threads }: ExploreFailure): string[] {
  if (orders === null) return [];
  if (orders.length === 0)
    return ["no order of two operations decides it: each was tried the other way round"];
  const place = (step: number): string => {
    const row = trace[step - 1];
    if (row === undefined) return "?";
    return `${threads[row.thread] ?? "?"} ${row.within} (${row.site}) on ${row.object}`;
  };
  return [
    "it needs these orders; any of them the other way round, and it is gone:",
    ...orders.map(
      ({ first, second }) =>
        `  [${String(first)}] ${place(first)}\n    before [${String(second)}] ${place(second)}`,
    ),
  ];
}

function summary(result: ExploreResult): string[] {
  const { executions, points, pointsPerSecond, capped, traces, completed, remaining, settings } = result;
  const lines = [
    `${counted(executions, "execution")} of ${count(result.stepsMin)} to ${count(result.stepsMax)} operations ` +
      `(${count(result.stepsMean)} on average), ${counted(points, "scheduling point")} ` +
      `in ${seconds(result.seconds)} on ${counted(result.workers, "core")}: ${count(pointsPerSecond)} a second`,
    `${counted(traces.distinct, "distinct trace")} among ${count(traces.hashed)} that were hashed; ` +
      `${count(traces.newInLastTenth)} of the last tenth ${traces.newInLastTenth === 1 ? "was" : "were"} new`,
  ];
  if (capped > 0)
    lines.push(
      `${percent(capped / executions)} were cut at ${counted(settings.pointsMax, "point")}: inconclusive, --steps raises the bound`,
    );
  if (completed !== null) lines.push(completed);
  if (remaining !== null) lines.push(`about ${counted(remaining, "execution")} remain`);
  if (result.nondeterminism !== null) lines.push(`not deterministic: ${result.nondeterminism}`);
  else lines.push(`${counted(result.repeated, "execution")} repeated, all with the same outcome`);
  return lines;
}

function verdictLine({ verdict, executions, outcome, reason, capped }: ExploreResult, paint: Paint): string {
  const { word, failing, low, high } = verdict;
  const end = outcome === "completed" ? "" : `; ended early ${reason ?? ""}`;
  const text =
    `${word}: ${count(failing)} of ${counted(executions, "execution")} failed, ` +
    `${percent(low)} to ${percent(high)} with 95 % confidence${end}`;
  if (word !== "Never") return paint.bad(text);
  return capped > 0 || executions === 0 ? paint.bad(`inconclusive: ${text}`) : paint.good(text);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 3 : 0)} %`;
}
