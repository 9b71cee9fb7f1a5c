/**
 * The modules of a failure by paths that another checkout has too: those that come with Umbra from where Umbra is, those of
 * its users from the working directory.
 */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { UsageError } from "../../errors.ts";
import type { ExploreTarget } from "../target.ts";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const OWN = "umbra:";

/** A target as it is written down. */
export function portableTarget(target: ExploreTarget): ExploreTarget {
  if (target.kind === "program") return target;
  const { url, mutant } = target;
  return { ...target, url: portable(url), mutant: mutant === null ? null : portable(mutant) };
}

/** A target as it can be loaded, from what `file` says. Throws UsageError when a module is not where it should be. */
export function locatedTarget(target: ExploreTarget, file: string): ExploreTarget {
  if (target.kind === "program") {
    const path = fileURLToPath(located(target.module, file, "target.module"));
    return { ...target, module: relative(process.cwd(), path) };
  }
  const { url, mutant } = target;
  return {
    ...target,
    url: located(url, file, "target.url"),
    mutant: mutant === null ? null : located(mutant, file, "target.mutant"),
  };
}

function portable(url: string): string {
  const path = fileURLToPath(url);
  if (path.startsWith(ROOT)) return `${OWN}${path.slice(ROOT.length).replaceAll(sep, "/")}`;
  const near = relative(process.cwd(), path);
  return near.startsWith("..") || isAbsolute(near) ? url : near.replaceAll(sep, "/");
}

function located(written: string, file: string, field: string): string {
  if (written.startsWith("file:")) return existing(fileURLToPath(written), file, field);
  if (written.startsWith(OWN)) return existing(join(ROOT, written.slice(OWN.length)), file, field);
  // Who replays it stands elsewhere: then the failures are kept beside what failed.
  const places = [process.cwd(), ...foldersAround(resolve(file))];
  const path = places.map((place) => join(place, written)).find((each) => existsSync(each));
  return existing(path ?? resolve(written), file, field);
}

function existing(path: string, file: string, field: string): string {
  if (existsSync(path)) return pathToFileURL(path).href;
  throw new UsageError(`${file}: ${field}: there is no file ${path}`);
}

function foldersAround(path: string): string[] {
  const folder = dirname(path);
  return folder === path ? [] : [folder, ...foldersAround(folder)];
}
