/** Files written whole or not at all. */
import { open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pid } from "node:process";
import { firstLine } from "./usage.ts";

/** Writes a file through a temporary one beside it, so that at no time a half-written file has its name. */
export async function writeWhole(file: string, content: string | Uint8Array): Promise<void> {
  const target = await realpath(file).catch(() => file);
  const found = await stat(target).catch(() => undefined);
  // A device or a pipe is written as it is: a file must not take its place.
  if (found !== undefined && !found.isFile()) {
    await writeInto(target, content);
    return;
  }
  const temporary = join(dirname(target), `.${basename(target)}.${String(pid)}.tmp`);
  try {
    await writeInto(temporary, content);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

async function writeInto(path: string, content: string | Uint8Array): Promise<void> {
  await using handle = await open(path, "w");
  await handle.writeFile(content);
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

/** Why a file could not be written, in words. */
export function writeFailure(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return REASONS[code] ?? firstLine(error);
}
