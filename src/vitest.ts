/** What tests import as `umbra/vitest`: the matcher for results of `explore`. */
import { expect } from "vitest";
import type { ProgramResult } from "./engines/explore/program/explore-program.ts";
import { programReport } from "./report/program-report.ts";

declare module "vitest" {
  // The type parameters must be as vitest has them.
  interface Matchers<R extends void | Promise<void> = void | Promise<void>, T = unknown> {
    /** No execution that was explored fails, and at least one came to its end. */
    toHoldInEverySchedule(): T extends ProgramResult ? R : never;
  }
}

expect.extend({
  toHoldInEverySchedule(result: ProgramResult) {
    const { failure, executions, capped, nondeterminism } = result;
    const isConclusive = executions > capped && nondeterminism === null;
    return {
      pass: failure === null && isConclusive,
      message: () => programReport(result),
    };
  },
});
