/** `umbra list`: what there is to run and to set. */
import { makeList } from "../engines/stress/list.ts";
import { listReport } from "../report/list-report.ts";
import { ExitCode } from "./context.ts";
import type { Context } from "./context.ts";
import { putOut } from "./json-file.ts";

/** What the command is given. */
export interface ListFlags {
  readonly options?: boolean | undefined;
  readonly counters?: boolean | undefined;
  readonly json?: string | undefined;
}

/** Runs the command; its exit code. Without flags it lists the scenarios. */
export async function listCommand(
  context: Context,
  { options = false, counters = false, json }: ListFlags,
): Promise<number> {
  const result = await makeList({ scenarios: !options && !counters, options, counters });
  return putOut(context, { result, text: listReport(result, context.paint), json, code: ExitCode.ok });
}
