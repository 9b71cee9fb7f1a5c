/** What a calibration will measure and where it will write, worked out from what people wrote. */
import { constants } from "node:fs";
import { access, open, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { pid } from "node:process";
import { UsageError } from "../errors.ts";
import { writeFailure } from "../output-file.ts";
import { commandLine, decimalNumber } from "../usage.ts";
import { workloads } from "./workloads.ts";
import type { Workload } from "./workloads.ts";

/** A calibration as people ask for it: texts of the command line. */
export interface CalibrateRequest {
  readonly output?: string | undefined;
  readonly seconds?: string | undefined;
}

/** A calibration with nothing left open. */
export interface CalibratePlan {
  readonly output: string;
  readonly seconds: number;
  readonly workloads: readonly Workload[];
  /** The command that repeats it. */
  readonly command: string;
}

const DEFAULT_OUTPUT = "calibrated.json";
const DEFAULT_SECONDS = "60";
const SECONDS = { min: 1, max: 3600 };
const CORES_MIN = 2;

/** Plans what is asked for. Throws UsageError for everything that cannot be. */
export async function planCalibrate(request: CalibrateRequest): Promise<CalibratePlan> {
  const output = request.output ?? DEFAULT_OUTPUT;
  const seconds = decimalNumber("--seconds", request.seconds ?? DEFAULT_SECONDS, SECONDS);
  if (availableParallelism() < CORES_MIN)
    throw new UsageError("umbra calibrate wants two cores, for what two threads cost each other");
  // By that ending umbra simulate --cost knows a file from the name of a model.
  if (!output.endsWith(".json")) throw new UsageError(`--output wants a .json file, got "${output}"`);
  await mustBeWritable(output);
  const command = commandLine(["umbra", "calibrate", "--output", output, "--seconds", String(seconds)]);
  return { output, seconds, workloads: await workloads(), command };
}

/** Told now rather than after a minute of measuring: only a file that is made beside shows it for sure. It is gone again. */
async function mustBeWritable(output: string): Promise<void> {
  const file = resolve(output);
  try {
    const found = await stat(file).catch(() => undefined);
    if (found?.isDirectory() === true) throw Object.assign(new Error("a folder"), { code: "EISDIR" });
    if (found !== undefined) await access(file, constants.W_OK);
    const probe = `${file}.${String(pid)}.probe`;
    const handle = await open(probe, "wx");
    await handle.close();
    await rm(probe, { force: true });
  } catch (error) {
    throw new UsageError(`--output ${output}: cannot be written: ${writeFailure(error)}`, { cause: error });
  }
}
