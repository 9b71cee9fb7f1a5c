/** The command line as people use it: a process of its own. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../source.ts";

const BIN = join(ROOT, "bin/umbra.js");

/** What a process left behind. */
export interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Starts `umbra` with these arguments; `whileRunning` gets the process and what it has written so far. It works in `cwd`. */
export async function umbra(
  args: readonly string[],
  whileRunning: (child: ChildProcess, out: () => string) => void = () => undefined,
  cwd = ROOT,
): Promise<Run> {
  const child = spawn(process.execPath, [BIN, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  whileRunning(child, () => out);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  return { code, out, err };
}
