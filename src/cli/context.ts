/** What a command may do to the world: say something, and be told to stop. Only main.ts touches the process. */
import { constants } from "node:os";
import { outcomeText } from "../report/outcome-text.ts";
import type { Paint } from "../report/text.ts";

/** Handed to every command. */
export interface Context {
  /** Writes to standard output. */
  out(text: string): void;
  /** Writes one line to standard error. */
  complain(line: string): void;
  /** How emphasis looks on standard output. */
  readonly paint: Paint;
  /** Characters in a line of standard output. */
  readonly width: number;
  /** Whether standard error is a terminal, where a progress line may be drawn. */
  readonly showsProgress: boolean;
  /** Aborted by Ctrl-C and its like; the reason is the name of the signal. */
  readonly interruption: AbortSignal;
}

/** What a command ends with (design, section 8). */
export const ExitCode = {
  ok: 0,
  violation: 1,
  usage: 2,
  inconclusive: 3,
  nondeterminism: 4,
  failed: 5,
} as const;

/** The line for standard error about a run that failed itself; undefined for one that ended in any other way. */
export function failureLine(code: number, run: Parameters<typeof outcomeText>[0]): string | undefined {
  return code === ExitCode.failed ? outcomeText(run) : undefined;
}

/** The exit code of a run that a signal ended, as shells count: 128 and the signal's number, so 130 for Ctrl-C. */
export function exitCodeOf(signal: string | null): number {
  const found = Object.entries(constants.signals).find(([name]) => name === signal);
  return 128 + (found?.[1] ?? constants.signals.SIGINT);
}
