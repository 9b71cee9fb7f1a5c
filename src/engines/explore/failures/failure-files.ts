/** A failure as files: `failures/<id>/failure.json` and a link `latest` to the last. */
import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { mkdir, readFile, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import type { ExploreFailure } from "../../../report/types.ts";
import { UsageError } from "../../errors.ts";
import { writeWhole } from "../../output-file.ts";
import type { Directive } from "../directives.ts";
import type { ExploreTarget } from "../target.ts";
import { locatedTarget, portableTarget } from "./portable-target.ts";

/** What a failure's file holds. */
export interface FailureFile {
  /** Name of the scenario or of the program. */
  readonly scenario: string;
  readonly codeHash: string;
  readonly target: ExploreTarget;
  readonly directives: readonly Directive[];
  readonly failure: ExploreFailure;
}

/** Changes whenever an older Umbra could not make sense of the file. */
const VERSION = 1;
const NAME = "failure.json";
const ID_DIGITS = 8;

/** Where a failure's files are, or why there are none. */
export type WrittenFiles = Pick<ExploreFailure, "folder" | "unwritten">;

/** Nobody has asked for files. */
export const NO_FILES: WrittenFiles = { folder: null, unwritten: null };

/** Writes a failure into a folder of its own below `folder`: the same failure into the same, however often it is found. */
export async function writeFailureFiles(folder: string, found: FailureFile): Promise<WrittenFiles> {
  const file = { ...found, target: portableTarget(found.target) };
  const id = `${file.scenario}-${digestOf({ ...file, failure: file.failure.key }).slice(0, ID_DIGITS)}`;
  const path = join(folder, id);
  try {
    await mkdir(path, { recursive: true });
    const content = { version: VERSION, digest: digestOf(file), ...file };
    await writeWhole(join(path, NAME), `${JSON.stringify(content, null, 1)}\n`);
    const latest = join(folder, "latest");
    await rm(latest, { force: true });
    await symlink(id, latest);
    return { folder: path, unwritten: null };
  } catch (error) {
    return { folder: null, unwritten: `${path}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Reads a failure's file, or the one in a failure's folder. Throws UsageError when it cannot be used. */
export async function readFailureFile(path: string): Promise<FailureFile> {
  const text = await readFile(fileOf(path), "utf8").catch((error: unknown) => {
    throw new UsageError(
      `${path}: cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  const content = parsed(text, path);
  const { version, digest, ...file } = content;
  if (version !== VERSION)
    throw new UsageError(`${path}: version is ${String(version)}, this Umbra reads ${String(VERSION)}`);
  if (!isFailureFile(file)) throw new UsageError(`${path}: this is no failure of umbra explore`);
  if (digest !== digestOf(file)) throw new UsageError(`${path}: digest does not match: the file was changed`);
  return { ...file, target: locatedTarget(file.target, path) };
}

/** A failure's file, which may be named by its folder. */
function fileOf(path: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return path;
  const file = join(path, NAME);
  if (existsSync(file)) return file;
  const latest = join(path, "latest");
  const hint = existsSync(join(latest, NAME)) ? `: perhaps ${latest}` : "";
  throw new UsageError(`${path}: this folder has no ${NAME}${hint}`);
}

function parsed(text: string, path: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return Object.fromEntries(Object.entries(value));
  } catch (error) {
    throw new UsageError(`${path}: is no JSON, or was cut: ${error instanceof Error ? error.message : ""}`, {
      cause: error,
    });
  }
  throw new UsageError(`${path}: this is no failure of umbra explore`);
}

function isFailureFile(value: object): value is FailureFile {
  return ["scenario", "codeHash", "target", "directives", "failure"].every((name) => name in value);
}

function digestOf({
  scenario,
  codeHash,
  target,
  directives,
  failure,
}: Omit<FailureFile, "failure"> & { readonly failure: unknown }): string {
  const content = JSON.stringify({ scenario, codeHash, target, directives, failure });
  return createHash("sha256").update(content).digest("hex");
}
