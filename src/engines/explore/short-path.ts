/** Where a module is, as short as it can be said: relative to Umbra, or to the working directory. */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** Path of a file URL: below Umbra or below the working directory without that directory, else whole. */
export function shortPath(url: string): string {
  const path = fileURLToPath(url);
  if (path.startsWith(ROOT)) return path.slice(ROOT.length);
  const fromHere = relative(process.cwd(), path);
  return fromHere.startsWith("..") ? path : fromHere;
}
