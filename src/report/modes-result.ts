/** What `umbra trace modes` found: a recorded guest in both modes of assistance, access by access. */
import type { VerifyResult } from "./verify-result.ts";

/** The result of two replays that were held against each other. */
export interface ModesResult {
  readonly engine: "modes";
  /** The command that repeats the run. */
  readonly command: string;
  readonly file: string;
  readonly preset: string;
  /** Records of the trace. */
  readonly records: number;
  /** Accesses that were done in shadow mode, and those that faulted, which hap has answered too. */
  readonly translations: number;
  readonly faults: number;
  /** Translations of which both left rights in the TLB. */
  readonly rights: number;
  /**
   * Of these, those to which shadows withhold write access: the page is a pagetable, or was one and was not stored to since, or
   * the guest's own entry is clean.
   */
  readonly withheldFromTables: number;
  readonly withheldSinceTable: number;
  readonly withheldWhileClean: number;
  /** Translations of which one left nothing in the TLB: a device's, or a store that was emulated. */
  readonly withoutRights: number;
  /** Accesses that only one of the replays came to. */
  readonly unanswered: number;
  /** Accesses that ended elsewhere, faulted otherwise, or whose rights differ without reason. */
  readonly differences: number;
  /** The first differences, ten at most, each as lines of text. */
  readonly first: readonly (readonly string[])[];
  /** What either replay came to against the recording. */
  readonly shadow: VerifyResult;
  readonly hap: VerifyResult;
}
