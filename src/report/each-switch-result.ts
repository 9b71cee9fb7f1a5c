/** What `umbra trace switches` found: a recorded guest under every preset, and with every switch the other way round. */
import type { VerifyResult } from "./verify-result.ts";

/** One replay of many. */
export interface SwitchRun {
  readonly preset: string;
  /** The one setting that differs from the preset, as `--set` takes it; null for none. */
  readonly set: string | null;
  readonly result: VerifyResult;
}

/** All replays, in the order in which they were made. */
export interface EachSwitchResult {
  readonly engine: "switches";
  /** The command that repeats the runs. */
  readonly command: string;
  readonly file: string;
  readonly runs: readonly SwitchRun[];
}
