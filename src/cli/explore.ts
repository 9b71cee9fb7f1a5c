/** `umbra explore`: every order of events that the vCPUs' accesses could come in, or as many as time allows. */
import { Command } from "commander";
import { runExplore } from "../engines/explore/campaign.ts";
import { UsageError } from "../engines/errors.ts";
import { PRESET_ABOUT } from "../engines/machine-settings.ts";
import { planExplore, requestNear } from "../engines/explore/explore-plan.ts";
import type { ExploreRequest } from "../engines/explore/explore-plan.ts";
import { STRATEGY_NAMES } from "../engines/explore/strategies/catalogue.ts";
import { exploreReport } from "../report/explore-report.ts";
import { progressLine } from "../report/progress.ts";
import type { ExploreResult } from "../report/types.ts";
import { ExitCode, exitCodeOf } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";
import { PAGING_ABOUT, withPaging } from "./paging-flag.ts";
import type { PagingFlag } from "./paging-flag.ts";

type ExploreFlags = Omit<ExploreRequest, "scenario" | "isWhole"> &
  PagingFlag & {
    readonly json?: string;
    readonly whole?: boolean;
    readonly from?: string;
  };

/** The command. `end` is told its exit code. */
export function exploreCommand(context: Context, end: (code: number) => void): Command {
  return new Command("explore")
    .description("search the orders in which the vCPUs' accesses can come for one that breaks something")
    .argument(
      "[scenario]",
      "one of umbra list, or a file with one (./mine.ts); its small variant is explored",
    )
    .option("--strategy <name>", `${STRATEGY_NAMES.join(", ")} (portfolio unless said)`)
    .option("--schedules <n>", "end after so many executions")
    .option("--seconds <s>", "end after so many seconds (10 unless said)")
    .option("--seed <k>", "seed of the search and of the programs; drawn and told unless said")
    .option("--vcpus <n>", "vCPUs; those of the small variant unless said")
    .option("--guest <format>", "2level, pae or 4level")
    .option("--mutant <name>", "put a known bug into the machine: one of umbra mutants, or a file")
    .option("--preset <name>", PRESET_ABOUT)
    .option("--set <option=value>", "one setting; may be given again", collect)
    .option("--paging <mode>", PAGING_ABOUT)
    .option("--rounds <n>", "rounds of each program (1 unless said)")
    .option("--steps <n>", "give an execution up after so many scheduling points (200000 unless said)")
    .option("--workers <n>", "worker threads; one for each core unless said")
    .option("--keep-going", "go on after the first failure, to count how often each occurs")
    .option("--whole", "explore the scenario as it is, not its small variant")
    .option("--from <file>", "search near what a stress run found: its scenario, machine and seed")
    .option("--failures <folder>", "folder for what failed (failures unless said)")
    .option("--json <file>", "write the result as JSON; - is standard output")
    .addHelpText(
      "after",
      "\nExample:\n  umbra explore map-unmap-shootdown --strategy pct --seconds 30 --seed 1\n",
    )
    .action(async (scenario: string | undefined, { json, from, whole, ...flags }: ExploreFlags) => {
      end(
        await explore(
          context,
          await requestOf(scenario, from, { ...withPaging(flags), isWhole: whole }),
          json,
        ),
      );
    });
}

function requestOf(
  scenario: string | undefined,
  from: string | undefined,
  rest: Omit<ExploreRequest, "scenario">,
): Promise<ExploreRequest> | ExploreRequest {
  if (from === undefined && scenario !== undefined) return { ...rest, scenario };
  if (from !== undefined && scenario === undefined) return requestNear(from, rest);
  throw new UsageError("name a scenario, or a stress failure with --from, and not both");
}

/** Explores; the exit code. */
async function explore(context: Context, request: ExploreRequest, json: string | undefined): Promise<number> {
  const plan = await planExplore(request);
  // Told before the run too: one that is killed can still be repeated.
  if (json !== "-") context.out(`${plan.command}\n`);
  const progress = progressLine(plan.settings.scenario, context.showsProgress);
  let result: ExploreResult;
  try {
    result = await runExplore(plan, { interruption: context.interruption, onProgress: progress.update });
  } finally {
    progress.stop();
  }
  const code = exploreExitCode(result);
  const failure = code === ExitCode.failed ? (result.reason ?? "the run failed") : undefined;
  return putOut(context, {
    result,
    text: exploreReport(result, context.paint, context.width),
    json,
    code,
    failure,
  });
}

/** A violation weighs more than how the run ended, and that more than what it left open. */
export function exploreExitCode(result: ExploreResult): number {
  const { failures, nondeterminism, outcome, signal, capped, executions } = result;
  if (failures.length > 0) return ExitCode.violation;
  if (nondeterminism !== null) return ExitCode.nondeterminism;
  if (outcome === "worker-died" || outcome === "stuck") return ExitCode.failed;
  if (outcome === "interrupted") return exitCodeOf(signal);
  return capped > 0 || executions === 0 ? ExitCode.inconclusive : ExitCode.ok;
}

function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}
