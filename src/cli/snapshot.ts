/** `umbra snapshot verify`: recorded tables and a listing of their mappings. */
import { verifySnapshot } from "../engines/snapshot.ts";
import { snapshotText } from "../report/snapshot-text.ts";
import type { SnapshotResult } from "../report/types.ts";
import { ExitCode } from "./context.ts";
import type { Context } from "./context.ts";
import type { Told } from "./trace.ts";

/** Options of `umbra snapshot verify`, as they stand on the command line. */
export interface SnapshotVerifyOptions {
  readonly regs: string;
  readonly infoTlb: string;
  readonly cpu: string;
  readonly preset?: string | undefined;
}

/** Shadows every mapping of a listing and compares. Throws UsageError for bad input. */
export async function runSnapshotVerify(
  tables: string,
  { regs, infoTlb, cpu, preset }: SnapshotVerifyOptions,
  { paint }: Pick<Context, "paint">,
): Promise<Told<SnapshotResult>> {
  const result = await verifySnapshot({ tables, regs, listing: infoTlb, cpu, preset });
  const isFlawless = result.differences + result.unlisted + result.violations.length === 0;
  const code = isFlawless ? ExitCode.ok : ExitCode.violation;
  return { result, text: snapshotText(result, paint), code };
}
