/** Where a module of a person's went wrong: errors of loading tell it in more than one way, or not at all. */
import { fileURLToPath } from "node:url";

/** A line of a file. */
export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

/** Umbra's own code is never the place: it is what the person's code called. */
const OWN = fileURLToPath(new URL("../", import.meta.url));
/** What an error of parsing or linking begins its stack with: `/home/me/mine.ts:3`, as a path or a URL. */
const HEADING = /^(\S.*?)(?:\?\S*)?:(\d+)$/;
const FRAME = /(file:\/\/[^\s?)]+)(?:\?[^\s:)]*)?:(\d+):\d+\)?$/;

/** The line that an error of loading modules comes from; undefined when its stack does not say. */
export function placeOf(error: unknown): Place | undefined {
  if (!(error instanceof Error)) return undefined;
  const [heading = "", ...frames] = (error.stack ?? "").split("\n");
  const found = [HEADING.exec(heading), ...frames.map((frame) => FRAME.exec(frame))].flatMap((match) =>
    match === null ? [] : [{ file: pathOf(match[1] ?? ""), line: Number(match[2]) }],
  );
  return found.find(({ file }) => file.startsWith("/") && !file.startsWith(OWN));
}

/** The same for a module that was loaded from a URL: JavaScript that cannot be parsed is looked at once more. */
export async function placeOfLoading(error: unknown, url: string): Promise<Place | undefined> {
  const place = placeOf(error);
  if (place !== undefined || !(error instanceof SyntaxError)) return place;
  const { readModule } = await import("./coroutine/syntax.ts");
  try {
    readModule(url);
    return undefined;
  } catch (again) {
    const [, file, line] = (again instanceof Error && /^(.*?):(\d+): /.exec(again.message)) || [];
    return file === undefined ? undefined : { file, line: Number(line) };
  }
}

function pathOf(fileOrUrl: string): string {
  return fileOrUrl.startsWith("file:") ? fileURLToPath(fileOrUrl) : fileOrUrl;
}
