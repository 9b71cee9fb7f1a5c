/** What commands put out: a report for people, and the result as a JSON file. */
import { writeFailure, writeWhole } from "../engines/output-file.ts";
import { ExitCode } from "./context.ts";
import type { Context } from "./context.ts";

/** What `--folded` is, in every command that has it. */
export const FOLDED_ABOUT =
  "write the waits for locks as folded stacks, by time, for speedscope or a flame graph";

/** A result in every form it is wanted in. */
export interface Output {
  readonly result: object;
  /** The report for people. */
  readonly text: string;
  /** File for the JSON; "-" is standard output, which then has nothing else. */
  readonly json: string | undefined;
  /** A file for folded stacks, and those. */
  readonly folded?: { readonly file: string; readonly text: string } | undefined;
  /** What the command ends with if the file can be written. */
  readonly code: number;
  /** Why the run itself failed, if it did: told on standard error too. */
  readonly failure?: string | undefined;
}

/** Puts a result out and, if they are wanted, folded stacks beside it; the exit code. */
export async function putOut(context: Context, output: Output): Promise<number> {
  const code = await putResult(context, output);
  const { folded } = output;
  if (folded === undefined) return code;
  try {
    await writeWhole(folded.file, folded.text);
    return code;
  } catch (error) {
    context.complain(`--folded ${folded.file}: cannot be written: ${writeFailure(error)}`);
    return code === ExitCode.violation ? code : ExitCode.failed;
  }
}

/**
 * Puts a result out; the exit code. When the file cannot be written, the JSON goes to standard output behind the
 * report, as its last line, and the run has failed unless it had found a violation.
 */
async function putResult(context: Context, output: Output): Promise<number> {
  const { result, text, json, code, failure } = output;
  if (json === "-") {
    context.out(`${JSON.stringify(result, null, 2)}\n`);
    if (failure !== undefined) context.complain(failure);
    return code;
  }
  context.out(text);
  if (failure !== undefined) context.complain(failure);
  if (json === undefined) return code;
  try {
    await writeWhole(json, `${JSON.stringify(result, null, 2)}\n`);
    return code;
  } catch (error) {
    context.complain(
      `--json ${json}: cannot be written: ${writeFailure(error)}; the result follows on standard output`,
    );
    context.out(`${JSON.stringify(result)}\n`);
    return code === ExitCode.violation ? code : ExitCode.failed;
  }
}
