/** Results as JSON files: whole or not at all. */
import { open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pid } from "node:process";
import { firstLine } from "../engines/usage.ts";
import { ExitCode } from "./context.ts";
import type { Context } from "./context.ts";

/** A result in every form it is wanted in. */
export interface Output {
  readonly result: object;
  /** The report for people. */
  readonly text: string;
  /** File for the JSON; "-" is standard output, which then has nothing else. */
  readonly json: string | undefined;
  /** What the command ends with if the file can be written. */
  readonly code: number;
}

/**
 * Puts a result out; the exit code. When the file cannot be written, the JSON goes to standard output behind the
 * report, as its last line, and the run has failed unless it had found a violation.
 */
export async function putOut(context: Context, output: Output): Promise<number> {
  const { result, text, json, code } = output;
  if (json === "-") {
    context.out(`${JSON.stringify(result, null, 2)}\n`);
    return code;
  }
  context.out(text);
  if (json === undefined) return code;
  try {
    await writeWhole(json, `${JSON.stringify(result, null, 2)}\n`);
    return code;
  } catch (error) {
    context.complain(
      `--json ${json}: cannot be written: ${reasonOf(error)}; the result follows on standard output`,
    );
    context.out(`${JSON.stringify(result)}\n`);
    return code === ExitCode.violation ? code : ExitCode.failed;
  }
}

/** Writes a file through a temporary one beside it, so that at no time a half-written file has its name. */
export async function writeWhole(file: string, text: string): Promise<void> {
  const target = await realpath(file).catch(() => file);
  const found = await stat(target).catch(() => undefined);
  // A device or a pipe is written as it is: a file must not take its place.
  if (found !== undefined && !found.isFile()) {
    await writeInto(target, "w", text);
    return;
  }
  const temporary = join(dirname(target), `.${basename(target)}.${String(pid)}.tmp`);
  try {
    await writeInto(temporary, "w", text);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

async function writeInto(path: string, flags: string, text: string): Promise<void> {
  await using handle = await open(path, flags);
  await handle.writeFile(text);
  if ((await handle.stat()).isFile()) await handle.sync();
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EDQUOT: "the disk quota is used up",
  EISDIR: "it is a folder",
  ENOENT: "there is no such folder",
  ENOSPC: "no space left on the device",
  ENOTDIR: "a part of the path is not a folder",
  EROFS: "the file system is read-only",
};

function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return REASONS[code] ?? firstLine(error);
}
