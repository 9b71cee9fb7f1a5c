/** The mutants that come with Umbra, found by their id or their file's name; or a user's own, by path. */
import { globSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { UsageError } from "../../errors.ts";
import { OWN_EXTENSION } from "../../own-files.ts";
import { allowedNames } from "../../usage.ts";

const FOLDER = fileURLToPath(new URL("../../../../scenarios/mutants/", import.meta.url));

/** Names of the mutants that come with Umbra: those of their files, `m01-flush-only-local-tlb`. */
export function mutantNames(): string[] {
  return globSync(`m[0-9][0-9]-*${OWN_EXTENSION}`, { cwd: FOLDER })
    .map((file) => basename(file, OWN_EXTENSION))
    .toSorted();
}

/** URL of a mutant's module, by name, id (`M01`) or path. Throws UsageError when there is none. */
export function mutantUrl(name: string): string {
  const found = bundledMutant(name);
  if (found !== undefined) return found;
  if (!name.includes("/"))
    throw new UsageError(`--mutant wants ${allowedNames(mutantNames())}, got "${name}"`);
  const file = resolve(name);
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    throw new UsageError(`--mutant ${name}: there is no such file`);
  return pathToFileURL(file).href;
}

/** URL of the module of a mutant that comes with Umbra; undefined when none has the name. */
export function bundledMutant(name: string): string | undefined {
  const wanted = name.toLowerCase();
  const found = mutantNames().find((each) => each === wanted || each.split("-")[0] === wanted);
  return found === undefined ? undefined : pathToFileURL(join(FOLDER, `${found}${OWN_EXTENSION}`)).href;
}
