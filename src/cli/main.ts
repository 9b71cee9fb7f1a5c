/**
 * The process: what it is told becomes a command, what goes wrong becomes one line and an exit code. No other file ends
 * the process or reads its arguments.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { CommanderError } from "commander";
import { RunError, UsageError } from "../engines/errors.ts";
import { COLOURED, PLAIN } from "../report/text.ts";
import { ExitCode, exitCodeOf } from "./context.ts";
import type { Context } from "./context.ts";
import { createProgram } from "./program.ts";

const PACKAGE = new URL("../../package.json", import.meta.url);
const FIRST_ARGUMENT = 2;
/** Of lines that go into a file or another program. */
const PIPE_WIDTH = 160;
const NO_COMMAND = "name a command; umbra --help lists them, umbra start shows Umbra at work";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

let interrupted: AbortController | undefined;
process.on("uncaughtException", (error) => {
  complain(oneLine(error));
  process.exit(ExitCode.failed);
});
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // Who reads through `head` has seen enough.
  if (error.code === "EPIPE") process.exit(ExitCode.ok);
  complain(`standard output cannot be written: ${error.code ?? error.message}`);
  process.exit(ExitCode.failed);
});
process.stderr.on("error", () => undefined);

const context: Context = {
  out: (text) => process.stdout.write(text),
  complain,
  paint: process.stdout.isTTY && process.stdout.hasColors() ? COLOURED : PLAIN,
  width: process.stdout.isTTY ? process.stdout.columns : PIPE_WIDTH,
  showsProgress: process.stderr.isTTY,
  // A command that does not ask for it is ended by a signal at once, as any process is.
  get interruption() {
    return interruption();
  },
};

const code = await run(process.argv);
// A scenario's module may have left timers behind: nothing shall keep the process alive once all has been written.
process.stdout.write("", () => process.exit(code));

/** Aborted when a signal asks for the end. */
function interruption(): AbortSignal {
  if (interrupted !== undefined) return interrupted.signal;
  const controller = new AbortController();
  interrupted = controller;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      // Whoever asks twice does not want to wait for the end of what the first asked for.
      if (controller.signal.aborted) process.exit(exitCodeOf(signal));
      controller.abort(signal);
    });
  }
  return controller.signal;
}

async function run(argv: readonly string[]): Promise<number> {
  const ending = { code: ExitCode.ok as number };
  try {
    if (argv.length <= FIRST_ARGUMENT) throw new UsageError(NO_COMMAND);
    await createProgram(context, version(), ending).parseAsync(argv);
    return ending.code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.ok;
    const group = argv.slice(FIRST_ARGUMENT).find((word) => !word.startsWith("-")) ?? "";
    complain(isMissingCommand(error) ? missingCommand(group) : oneLine(error));
    return exitCodeFor(error);
  }
}

/** Of a command that only holds others, which commander answers with all of its help. */
function isMissingCommand(error: unknown): boolean {
  return error instanceof CommanderError && error.code === "commander.help";
}

function missingCommand(group: string): string {
  return `name a command of umbra ${group}; umbra ${group} --help lists them`;
}

function exitCodeFor(error: unknown): number {
  if (error instanceof UsageError || error instanceof CommanderError) return ExitCode.usage;
  return ExitCode.failed;
}

function oneLine(error: unknown): string {
  const isExpected =
    error instanceof UsageError || error instanceof RunError || error instanceof CommanderError;
  const message = error instanceof Error ? error.message : String(error);
  return isExpected ? message.replace(/^error: /, "") : `Umbra failed: ${message}`;
}

function complain(line: string): void {
  process.stderr.write(`umbra: ${line.replaceAll(/\s*\n\s*/g, " ")}\n`);
}

function version(): string {
  const { version: text }: { version: string } = JSON.parse(readFileSync(PACKAGE, "utf8"));
  return text;
}
