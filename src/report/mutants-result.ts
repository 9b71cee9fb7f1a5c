/** What `umbra mutants` found. */

/** One strategy's searches for a mutant. */
export interface StrategyRow {
  readonly strategy: string;
  readonly seedsFound: number;
  readonly seeds: number;
  /** Of the searches that found it; null when none did. */
  readonly medianPoints: number | null;
  readonly medianSeconds: number | null;
}

/** One mutant. */
export interface MutantRow {
  /** M01 to M20. */
  readonly id: string;
  /** What is wrong, in one line. */
  readonly title: string;
  /** The kinds of check that count. */
  readonly oracles: readonly string[];
  readonly seedsFound: number;
  readonly seeds: number;
  /** The kind of check that found it most often, null when it was not found; and that check's own name. */
  readonly check: string | null;
  readonly finding: string | null;
  /** Executions, points and seconds to the first find, the median over the seeds that found it. */
  readonly medianSchedules: number | null;
  readonly medianPoints: number | null;
  readonly medianSeconds: number | null;
  /** Thread switches of the first seed's failure, minimised. */
  readonly minimisedSwitches: number | null;
  /** Findings of checks that do not count for it, and crashes. */
  readonly others: readonly string[];
  /** The scenario without the mutant, under all checks. */
  readonly cleanExecutions: number;
  readonly cleanPoints: number;
  readonly cleanFindings: readonly string[];
  /** Other strategies than the portfolio; empty unless asked for. */
  readonly strategies: readonly StrategyRow[];
}

/** A run over all mutants. */
export interface MutantsResult {
  readonly kind: "mutants";
  readonly command: string;
  readonly outcome: "completed" | "interrupted" | "worker-died";
  readonly reason: string | null;
  readonly signal: string | null;
  readonly seeds: number;
  /** Bound of one search. */
  readonly secondsEach: number;
  readonly workers: number;
  readonly seconds: number;
  /** Of the shadow lock, of those whose own machine does not say. */
  readonly granularity: "domain" | "page";
  /** Ids of mutants that the granularity leaves out: bugs of out-of-sync shadows, which keep one lock, and what is none then. */
  readonly leftOut: readonly string[];
  readonly mutants: readonly MutantRow[];
  /** Findings in scenarios without their mutants: 0, or a check is wrong. */
  readonly cleanViolations: number;
}
