/** What a stress run found, kept for a search near it: `failures/<id>/stress.json`. */
import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { StressResult } from "../../../report/types.ts";
import { UsageError } from "../../errors.ts";
import { writeWhole } from "../../output-file.ts";

/** What the file holds. */
export interface StressFile {
  readonly version: 1;
  /** Name or path of the scenario. */
  readonly scenario: string;
  readonly result: StressResult;
}

const VERSION = 1;
const ID_DIGITS = 8;

/** Writes the file below `folder`; its path, or null when that cannot be. */
export async function writeStressFile(
  folder: string,
  scenario: string,
  result: StressResult,
): Promise<string | null> {
  const digest = createHash("sha256").update(JSON.stringify(result)).digest("hex").slice(0, ID_DIGITS);
  const path = join(folder, `${result.settings.scenario.replaceAll(/[^\w-]+/g, "-")}-stress-${digest}`);
  const file: StressFile = { version: VERSION, scenario, result };
  try {
    await mkdir(path, { recursive: true });
    await writeWhole(join(path, "stress.json"), `${JSON.stringify(file, null, 1)}\n`);
    return join(path, "stress.json");
  } catch {
    return null;
  }
}

/** Reads such a file. Throws UsageError when it cannot be used. */
export async function readStressFile(path: string): Promise<StressFile> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new UsageError(
      `--from ${path}: cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  const value = parsed(text, path);
  if (!isStressFile(value))
    throw new UsageError(`--from ${path}: this is no stress failure of this version of Umbra`);
  if (value.result.settings.guest === "recorded")
    throw new UsageError(`--from ${path}: a recorded guest cannot be explored, a scenario can`);
  return value;
}

/** The settings of a run as the assignments that repeat them. */
export function assignmentsOf({ options, machine, switches }: StressResult["settings"]): string[] {
  return [
    ...Object.entries(switches).map(([name, isOn]) => `${name}=${isOn ? "on" : "off"}`),
    ...Object.entries({ ...machine, ...options }).map(([name, value]) => `${name}=${String(value)}`),
  ];
}

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--from ${path}: is no JSON, or was cut`, { cause: error });
  }
}

function isStressFile(value: unknown): value is StressFile {
  if (typeof value !== "object" || value === null) return false;
  const { version, scenario, result }: { version?: unknown; scenario?: unknown; result?: unknown } = value;
  return (
    version === VERSION &&
    typeof scenario === "string" &&
    typeof result === "object" &&
    result !== null &&
    "settings" in result
  );
}
