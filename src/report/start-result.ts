/** What `umbra start` found. */
import type { StressResult } from "./stress-result.ts";
import type { VerifyResult } from "./verify-result.ts";

/** The result of `umbra start`. */
export interface StartResult {
  readonly engine: "start";
  /** The recorded guests that come with Umbra, replayed. */
  readonly traces: readonly VerifyResult[];
  /** The scenario that was run; null when it was not come to. */
  readonly stress: StressResult | null;
}
