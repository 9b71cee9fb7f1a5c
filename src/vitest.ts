/** What tests import as `umbra/vitest`: the matcher for results of `explore`. */
import { expect } from "vitest";
import type { ProgramResult } from "./engines/explore/program/explore-program.ts";
import { programReport } from "./report/program-report.ts";

declare module "vitest" {
  // The type parameters must be as vitest has them.
  interface Matchers<R extends void | Promise<void> = void | Promise<void>, T = unknown> {
    /** No execution that was explored fails, and each came to its end. */
    toHoldInEverySchedule(): T extends ProgramResult ? R : never;
  }
}

expect.extend({
  toHoldInEverySchedule(result: unknown) {
    if (!isResult(result))
      return {
        pass: false,
        message: () =>
          `toHoldInEverySchedule wants what explore found: expect(await explore(…))${result instanceof Promise ? ", and the await is missing" : ""}`,
      };
    const { failure, executions, capped, nondeterminism } = result;
    // What was given up says nothing: that no other execution fails does not mean that each schedule holds.
    const isConclusive = executions > 0 && capped === 0 && nondeterminism === null;
    return {
      pass: failure === null && isConclusive,
      message: () => programReport(result),
    };
  },
});

function isResult(value: unknown): value is ProgramResult {
  return typeof value === "object" && value !== null && "executions" in value && "capped" in value;
}
