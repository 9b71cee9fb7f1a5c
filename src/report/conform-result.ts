/** What `umbra conform` found: a file of recorded walks against the walker. */

/** One case that the walker answered otherwise than recorded. Texts, to be read by people. */
export interface ConformMismatch {
  /** Line of the file, from 1. */
  readonly line: number;
  /** The access and the state it was made in. */
  readonly case: string;
  readonly expected: string;
  readonly got: string;
  /** The entries of the walk before it, from the top. */
  readonly entries: string;
}

/** The result of one run. */
export interface ConformResult {
  readonly file: string;
  /** `walks`: random entries of 2, 3 and 4 levels. `access`: every combination of bits in a 4-level table. */
  readonly kind: "walks" | "access";
  readonly cases: number;
  readonly mismatches: number;
  /** The first mismatches, ten at most. */
  readonly first: readonly ConformMismatch[];
}
