/** Tokens of users' programs: the module by its path from the working directory, what main was given, the schedule. */
import { UsageError } from "../../errors.ts";
import type { Directive } from "../directives.ts";
import { readSchedule, shortKey, shownToken, writeSchedule } from "../failures/token.ts";
import type { ProgramTarget } from "../target.ts";

/** What a program's token holds. */
export interface ProgramTokenContent {
  readonly target: ProgramTarget;
  readonly codeHash: string;
  readonly key: string;
  readonly directives: readonly Directive[];
}

const HEADING = "umbra1-program";

/** Whether a text wants to be the token of a program. */
export function isProgramToken(token: string): boolean {
  return token.trim().startsWith(`${HEADING}:`);
}

/** A token of its content. */
export function writeProgramToken({ target, codeHash, key, directives }: ProgramTokenContent): string {
  const { module, input, pointsMax, hasSpuriousWakeups } = target;
  const query = new URLSearchParams({
    input,
    steps: String(pointsMax),
    ...(hasSpuriousWakeups ? { spurious: "1" } : {}),
  });
  const where = `${encodeURIComponent(module)}?${query.toString()}`;
  return `${HEADING}:${where}:${codeHash}:${shortKey(key)}:${writeSchedule(directives)}`;
}

/** Takes a token apart. Throws UsageError when it is none, or was cut. */
export function readProgramToken(token: string): ProgramTokenContent {
  const [, where = "", codeHash = "", key = "", schedule = "", ...rest] = token.trim().split(":");
  if (schedule === "" || rest.length > 0)
    throw new UsageError(`token "${shownToken(token)}": it begins with ${HEADING}: and has five parts`);
  const [module = "", queryText = ""] = where.split("?");
  const query = new URLSearchParams(queryText);
  const pointsMax = Number(query.get("steps") ?? "none");
  const input = query.get("input");
  if (input === null || !Number.isInteger(pointsMax))
    throw new UsageError(`token "${shownToken(token)}": it has no input, or no steps`);
  return {
    target: {
      kind: "program",
      module: decodeURIComponent(module),
      input,
      hasSpuriousWakeups: query.has("spurious"),
      pointsMax,
    },
    codeHash,
    key,
    directives: readSchedule(schedule, token),
  };
}
