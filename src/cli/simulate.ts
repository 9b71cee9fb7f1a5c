/** `umbra simulate`: a scenario in virtual time, at any number of vCPUs, to see what its locks cost. */
import { Command } from "commander";
import { BUNDLED_MODELS } from "../engines/simulate/cost-model.ts";
import { LOCK_KINDS, PRESET_ABOUT } from "../engines/machine-settings.ts";
import { planSimulate } from "../engines/simulate/simulate-plan.ts";
import type { SimulateRequest } from "../engines/simulate/simulate-plan.ts";
import { runSimulate } from "../engines/simulate/sweep.ts";
import { foldedStacks } from "../report/folded-stacks.ts";
import { progressLine } from "../report/progress.ts";
import { simulateReport } from "../report/simulate-report.ts";
import { counted } from "../report/text.ts";
import type { SimulateResult } from "../report/types.ts";
import { ExitCode, exitCodeOf } from "./context.ts";
import type { Context } from "./context.ts";
import { FOLDED_ABOUT, putOut } from "./json-file.ts";

type SimulateFlags = Omit<SimulateRequest, "scenario"> & { readonly json?: string; readonly folded?: string };

/** The command. `end` is told its exit code. */
export function simulateCommand(context: Context, end: (code: number) => void): Command {
  return new Command("simulate")
    .description("run a scenario in virtual time at any number of vCPUs, and measure what its locks cost")
    .argument("<scenario>", "one of umbra list, or a file with one (./mine.ts)")
    .option("--vcpus <list>", "numbers of vCPUs, with commas between (1,2,4,8 unless said)")
    .option("--lock <list>", `kinds of lock, with commas between: ${LOCK_KINDS.join(", ")}`)
    .option(
      "--granularity <list>",
      "of the shadow lock, with commas between: domain, page (domain unless said)",
    )
    .option("--cost <model>", `${BUNDLED_MODELS.join(", ")}, or a file with a model (./mine.json)`)
    .option("--milliseconds <m>", "virtual time to measure (2 unless said)")
    .option("--seed <k>", "seed of all randomness; drawn and told unless said")
    .option("--guest <format>", "2level, pae or 4level")
    .option("--preset <name>", PRESET_ABOUT)
    .option("--set <option=value>", "one setting; may be given again", collect)
    .option("--sensitivity", "change every cost that matters by half, down and up, and tell what changes")
    .option("--stress <seconds>", "run each point that there are cores for on real threads, too, for so long")
    .option("--folded <file>", FOLDED_ABOUT)
    .option("--json <file>", "write the result as JSON; - is standard output")
    .addHelpText(
      "after",
      "\nExample:\n  umbra simulate disjoint-spaces --vcpus 1,2,4,8,16,32 --granularity domain,page --seed 1\n",
    )
    .action(async (scenario: string, { json, folded, ...flags }: SimulateFlags) => {
      end(await simulate(context, { scenario, ...flags }, { json, folded }));
    });
}

async function simulate(
  context: Context,
  request: SimulateRequest,
  { json, folded: file }: { readonly json: string | undefined; readonly folded: string | undefined },
): Promise<number> {
  const plan = await planSimulate(request);
  if (json !== "-") context.out(`${plan.command}\n`);
  const progress = progressLine(plan.settings.scenario, context.showsProgress);
  let result: SimulateResult;
  try {
    result = await runSimulate(plan, { interruption: context.interruption, onProgress: progress.update });
  } finally {
    progress.stop();
  }
  const code = simulateExitCode(result);
  const failure = code === ExitCode.failed ? failureOf(result) : undefined;
  const folded = file === undefined ? undefined : { file, text: foldedPoints(result) };
  return putOut(context, {
    result,
    text: simulateReport(result, context.paint),
    json,
    folded,
    code,
    failure,
  });
}

/** A violation weighs more than how the sweep ended; a broken law is the simulator's own failure. */
function simulateExitCode({ points, real, outcome, signal }: SimulateResult): number {
  if ([...points, ...real].some(({ violations }) => violations.length > 0)) return ExitCode.violation;
  if (outcome === "interrupted") return exitCodeOf(signal);
  if (outcome === "worker-died") return ExitCode.failed;
  if (real.some((point) => point.outcome !== "completed")) return ExitCode.failed;
  if (points.some(({ laws }) => laws.some(({ holds }) => !holds))) return ExitCode.failed;
  return points.some(({ reason }) => reason !== null) ? ExitCode.inconclusive : ExitCode.ok;
}

/** Each point below a frame of its own. */
function foldedPoints({ points, lockPlaces }: SimulateResult): string {
  return points
    .map(({ vcpus, design, waits }) =>
      foldedStacks({ waits, places: lockPlaces, vcpus }, [`${counted(vcpus, "vCPU")}, ${design}`]),
    )
    .join("");
}

function failureOf({ reason, real }: SimulateResult): string {
  const unfinished = real.find(({ outcome }) => outcome !== "completed");
  if (unfinished !== undefined) return `${unfinished.command}: ${unfinished.outcome}`;
  return reason ?? "a law of queues does not hold: the simulation is wrong";
}

function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}
