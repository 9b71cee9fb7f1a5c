/** Why a user's module could not be loaded, in one line with its place: nobody can do anything with Umbra's own stack. */
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { RefusedError } from "../../coroutine/hook.ts";
import { placeOf } from "../../error-place.ts";
import { UsageError } from "../../errors.ts";
import { firstLine } from "../../usage.ts";
import { UnseenAccessError } from "../unseen-access.ts";
import { shortPath } from "../short-path.ts";

/** Throws UsageError unless a URL is that of a file which is there. */
export function wantFile(url: string): void {
  if (!url.startsWith("file:")) throw new UsageError(`${url}: a program is a file, named by a file: URL`);
  const found = statSync(fileURLToPath(url), { throwIfNoEntry: false });
  if (found === undefined) throw new UsageError(`${shortPath(url)}: there is no such file`);
  if (!found.isFile()) throw new UsageError(`${shortPath(url)}: this is not a file`);
}

/** What loading a program threw, for whoever wrote it. */
export function loadingError(error: unknown, url: string): Error {
  if (
    [RefusedError, UsageError, UnseenAccessError].some((type) => error instanceof type) &&
    error instanceof Error
  )
    return error;
  const program = shortPath(url);
  if (isMissing(error)) return new UsageError(`${program}: imports ${error.path}: there is no such file`);
  // The reader of modules has put the place before the reason.
  const read = /^(\/.*?)(:\d+: .*)/.exec(firstLine(error));
  if (read !== null) return new UsageError(`${shortPath(`file://${read[1] ?? ""}`)}${read[2] ?? ""}`);
  const place = placeOf(error);
  const where = place === undefined ? program : `${shortPath(`file://${place.file}`)}:${String(place.line)}`;
  const name = error instanceof Error && error.name !== "Error" ? `${error.name}: ` : "";
  return new UsageError(`${where}: cannot be loaded: ${name}${firstLine(error)}`, { cause: error });
}

function isMissing(error: unknown): error is Error & { readonly path: string } {
  return error instanceof Error && "code" in error && error.code === "ENOENT" && "path" in error;
}
