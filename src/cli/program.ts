/** The commands of `umbra` and their options, as commander knows them. */
import { Command } from "commander";
import { PRESET_ABOUT } from "../engines/machine-settings.ts";
import { ablateCommand } from "./ablate.ts";
import { calibrateCommand } from "./calibrate.ts";
import { conformCommand } from "./conform.ts";
import type { Context } from "./context.ts";
import { FOLDED_ABOUT, putOut } from "./json-file.ts";
import { PAGING_ABOUT, withPaging } from "./paging-flag.ts";
import type { PagingFlag } from "./paging-flag.ts";
import { exploreCommand } from "./explore.ts";
import { simulateCommand } from "./simulate.ts";
import { listCommand } from "./list.ts";
import { mutantsCommand } from "./mutants.ts";
import { replayCommands } from "./replay.ts";
import { startCommand } from "./start.ts";
import { runSnapshotVerify } from "./snapshot.ts";
import type { SnapshotVerifyOptions } from "./snapshot.ts";
import { stressCommand } from "./stress.ts";
import { runTraceCut, runTraceInfo, runTraceModes, runTraceSwitches, runTraceVerify } from "./trace.ts";
import type { Told, TraceCutOptions, TraceVerifyOptions } from "./trace.ts";

/** What a command leaves behind. */
interface Ending {
  code: number;
}

const JSON_ABOUT = "write the result as JSON; - is standard output";

const SETTINGS_HELP = `
Settings: --set names a switch of the machine (on or off), another setting of it, or an option of the scenario.
umbra list --options names those of every machine, umbra list those of each scenario.`;

const EXIT_CODES = `
Exit codes: 0 nothing wrong, 1 a violation was found, 2 bad usage or bad input, 3 inconclusive (a bound cut
executions short), 4 not deterministic, 5 the run itself failed, 130 interrupted.`;

/** The program for one command line. `ending` gets the exit code of the command that runs. */
export function createProgram(context: Context, version: string, ending: Ending): Command {
  const program = new Command("umbra")
    .description(
      "Xen's shadow pagetables as multithreaded TypeScript: every vCPU is a thread.\n" +
        "umbra start shows what it does; umbra <command> --help explains a command.",
    )
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.out(text),
      // What is wrong is told in one line, by whoever catches the error.
      writeErr: () => undefined,
    })
    .addHelpText("after", EXIT_CODES);
  addStart(program, context, ending);
  addStress(program, context, ending);
  const end = (code: number): void => {
    ending.code = code;
  };
  adopt(program, exploreCommand(context, end));
  adopt(program, simulateCommand(context, end));
  adopt(program, ablateCommand(context, end));
  adopt(program, calibrateCommand(context, end));
  for (const command of replayCommands(context, end)) adopt(program, command);
  adopt(program, mutantsCommand(context, end));
  addTrace(program, context, ending);
  adopt(program, conformCommand(context, end));
  addSnapshot(program, context, ending);
  addList(program, context, ending);
  return program;
}

function addStart(program: Command, context: Context, ending: Ending): void {
  program
    .command("start")
    .description(
      "verify the recorded guests that come with Umbra, then run one scenario on many vCPUs for 10 s",
    )
    .option("--json <file>", JSON_ABOUT)
    .addHelpText("after", example("umbra start"))
    .action(async (flags: { json?: string }) => {
      ending.code = await startCommand(context, flags);
    });
}

interface StressFlags {
  readonly vcpus?: string;
  readonly seconds?: string;
  readonly ops?: string;
  readonly seed?: string;
  readonly guest?: string;
  readonly preset?: string;
  readonly set?: readonly string[];
  readonly paging?: string;
  readonly vs?: string;
  readonly watch?: string;
  readonly failures?: string;
  readonly folded?: string;
  readonly json?: string;
}

function addStress(program: Command, context: Context, ending: Ending): void {
  program
    .command("stress")
    .description("run a scenario at full speed, each vCPU a thread, audited while it runs")
    .argument(
      "<scenario>",
      "one of umbra list, a file with one (./mine.ts), or a recorded guest (x.trace.gz)",
    )
    .option("--vcpus <n>", "vCPUs; the scenario says how many it takes")
    .option("--seconds <s>", "end after so many seconds (10 unless said)")
    .option("--ops <n>", "end each vCPU after so many guest operations instead")
    .option("--seed <k>", "seed of all randomness; drawn and told unless said")
    .option("--guest <format>", "2level, pae or 4level")
    .option("--preset <name>", PRESET_ABOUT)
    .option("--set <option=value>", "one setting; may be given again", collect)
    .option("--paging <mode>", PAGING_ABOUT)
    .option("--vs <preset>", "compare with a second preset, in alternating slices")
    .option("--watch <mode>", "watchpoints that show races: off, light or heavy (off unless said)")
    .option("--failures <folder>", "folder for what failed (failures unless said)")
    .option("--folded <file>", FOLDED_ABOUT)
    .option("--json <file>", JSON_ABOUT)
    .addHelpText("after", SETTINGS_HELP + EXIT_CODES)
    .addHelpText(
      "after",
      example("umbra stress fork-copy-on-write --vcpus 4 --seconds 5 --set prefetch=off --json result.json"),
    )
    .action(async (scenario: string, { json, folded, failures, ...flags }: StressFlags) => {
      const output = { json, folded, failures };
      ending.code = await stressCommand(context, { scenario, ...withPaging(flags) }, output);
    });
}

/** What every command that tells one result is given besides its own options. */
interface JsonFlag {
  readonly json?: string;
}

async function tell(context: Context, told: Promise<Told<object>>, { json }: JsonFlag): Promise<number> {
  return putOut(context, { ...(await told), json });
}

function addTraceSwitches(trace: Command, context: Context, ending: Ending): void {
  trace
    .command("switches")
    .description(
      "replay it under every preset and with every switch the other way round, and tell what each brings",
    )
    .argument("<file>", "the trace, compressed with gzip")
    .option("--json <file>", JSON_ABOUT)
    .addHelpText("after", EXIT_CODES + example("umbra trace switches scenarios/traces/pae.trace.gz"))
    .action(async (file: string, flags: JsonFlag) => {
      ending.code = await tell(context, runTraceSwitches(file, context), flags);
    });
}

function addTraceModes(trace: Command, context: Context, ending: Ending): void {
  trace
    .command("modes")
    .description("replay it in shadow mode and in hap, and compare each translation and each fault")
    .argument("<file>", "the trace, compressed with gzip")
    .option("--preset <name>", PRESET_ABOUT)
    .option("--set <option=value>", "one setting of the machine; may be given again", collect)
    .option("--json <file>", JSON_ABOUT)
    .addHelpText("after", EXIT_CODES + example("umbra trace modes scenarios/traces/pae.trace.gz"))
    .action(async (file: string, { json, ...flags }: TraceVerifyOptions & JsonFlag) => {
      ending.code = await tell(context, runTraceModes(file, flags, context), jsonFlag(json));
    });
}

function addTrace(program: Command, context: Context, ending: Ending): void {
  const trace = program
    .command("trace")
    .description("recorded guests: replay and compare, look into, cut")
    .helpCommand(false)
    .addHelpText("after", example("umbra trace info scenarios/traces/pae.trace.gz"));
  trace
    .command("verify")
    .description(
      "replay a recorded guest through shadow pagetables, a thread for each vCPU, and compare everything",
    )
    .argument("<file>", "the trace, compressed with gzip")
    .option(
      "--order <order>",
      "strict: as recorded; causal: as far as pagetables are concerned (strict unless said)",
    )
    .option("--preset <name>", PRESET_ABOUT)
    .option("--set <option=value>", "one setting of the machine; may be given again", collect)
    .option("--paging <mode>", PAGING_ABOUT)
    .option("--json <file>", JSON_ABOUT)
    .addHelpText(
      "after",
      EXIT_CODES + example("umbra trace verify scenarios/traces/4level.trace.gz --set prefetch=off"),
    )
    .action(async (file: string, { json, ...flags }: TraceVerifyOptions & PagingFlag & JsonFlag) => {
      ending.code = await tell(context, runTraceVerify(file, withPaging(flags), context), jsonFlag(json));
    });
  addTraceSwitches(trace, context, ending);
  addTraceModes(trace, context, ending);
  trace
    .command("info")
    .description("tell what is in a recorded guest")
    .argument("<file>", "the trace, compressed with gzip")
    .option("--json <file>", JSON_ABOUT)
    .addHelpText("after", example("umbra trace info scenarios/traces/pae.trace.gz"))
    .action(async (file: string, flags: JsonFlag) => {
      ending.code = await tell(context, runTraceInfo(file, context), flags);
    });
  trace
    .command("cut")
    .description("write the beginning of a recorded guest as a trace of its own")
    .argument("<file>", "the trace, compressed with gzip")
    .requiredOption("--records <n>", "how many records to keep")
    .requiredOption("--out <file>", "the trace to write, compressed with gzip")
    .option("--json <file>", JSON_ABOUT)
    .addHelpText("after", example("umbra trace cut pae.trace.gz --records 1000 --out short.trace.gz"))
    .action(async (file: string, { json, ...options }: TraceCutOptions & JsonFlag) => {
      ending.code = await tell(context, runTraceCut(file, options), jsonFlag(json));
    });
}

function addSnapshot(program: Command, context: Context, ending: Ending): void {
  program
    .command("snapshot")
    .description("recorded pagetables of a stopped guest")
    .helpCommand(false)
    .addHelpText("after", example("umbra snapshot verify --help"))
    .command("verify")
    .description("shadow recorded pagetables whole, and compare with a listing of their mappings")
    .argument("<tables>", "the recorded tables")
    .requiredOption("--regs <file>", "the registers of every CPU, recorded at the same stop")
    .requiredOption("--info-tlb <file>", "the listing of mappings to compare with")
    .requiredOption("--cpu <n>", "the CPU whose tables are loaded")
    .option("--preset <name>", PRESET_ABOUT)
    .option("--json <file>", JSON_ABOUT)
    .addHelpText(
      "after",
      example("umbra snapshot verify pt.tables.gz --regs regs.txt --info-tlb info-tlb-cpu0.txt.gz --cpu 0"),
    )
    .action(async (tables: string, { json, ...options }: SnapshotVerifyOptions & JsonFlag) => {
      ending.code = await tell(context, runSnapshotVerify(tables, options, context), jsonFlag(json));
    });
}

function jsonFlag(json: string | undefined): JsonFlag {
  return json === undefined ? {} : { json };
}

function addList(program: Command, context: Context, ending: Ending): void {
  program
    .command("list")
    .description("list the scenarios that come with Umbra")
    .option("--options", "list the settings and presets of every machine instead")
    .option("--counters", "list the counters with their meaning instead")
    .option("--json <file>", JSON_ABOUT)
    .addHelpText("after", example("umbra list --options"))
    .action(async (flags: { options?: boolean; counters?: boolean; json?: string }) => {
      ending.code = await listCommand(context, flags);
    });
}

/** Adds a command made elsewhere, with the program's manners: nothing printed and no exit but by whoever started it. */
function adopt(program: Command, command: Command): void {
  program.addCommand(command.copyInheritedSettings(program));
}

/** The part of a command's help that shows it in use. */
function example(line: string): string {
  return `\nExample:\n  ${line}\n`;
}

function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
