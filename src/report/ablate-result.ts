/** The result of `umbra ablate`. */
import type { SimulateOutcome } from "./simulate-result.ts";
import type { Violation } from "./stress-result.ts";

/** What was asked for. */
export interface AblateSettings {
  /** A workload's name, or the file of a recording. */
  readonly workload: string;
  readonly vcpus: number;
  readonly guest: string;
  /** Null for a recording, like the time. */
  readonly seed: number | null;
  /** Virtual time that each machine was measured for. */
  readonly milliseconds: number | null;
  /** Name of the cost model. */
  readonly cost: string;
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/**
 * Why a machine was measured: as one of the slide's two or close to them, with one optimisation alone, with all but one, or
 * with all up to one in the order in which they came.
 */
export type AblationGroup = "slide" | "alone" | "all but one" | "history";

/** One machine. Numbers are those of the measured time. */
export interface AblationRow {
  readonly group: AblationGroup;
  /** The optimisation that the row is about, or in the slide's group the machine. */
  readonly name: string;
  /** Optimisations that were on. */
  readonly on: readonly string[];
  /**
   * Virtual time that a vCPU took for a guest operation, in nanoseconds; of a recording, what was counted for a record of it,
   * by the cost model. Null if nothing was measured.
   */
  readonly nanosPerOperation: number | null;
  /** Part of the time that the optimisation saves, against the same machine without it; in the slide's group against A. */
  readonly gain: number | null;
  /** A thousand guest operations' worth of each. */
  readonly perThousand: Readonly<Record<AblationCount, number>> | null;
}

/** What is counted of each machine. */
export type AblationCount =
  | "exits"
  | "fastFaults"
  | "slowFaults"
  | "lockHolds"
  | "emulations"
  | "shadowsMade"
  | "flushes";

/** The slide's finding: most of the gain comes from the fast path and prefetch. */
export interface SlideFinding {
  /** Part of the time that B saves against A. */
  readonly gain: number;
  /** Of that gain, the part that the two bring when nothing else is on, and that goes when they are taken from B. */
  readonly broughtAlone: number;
  readonly lostWithout: number;
  /** Whether both are more than half. */
  readonly holds: boolean;
}

/** A line of the published table of out-of-sync shadows, beside ours. */
export interface PublishedRow {
  readonly guest: string;
  readonly vcpus: number;
  readonly before: number;
  readonly after: number;
  readonly gain: number;
  readonly published: number;
}

/** An ablation. */
export interface AblateResult {
  readonly engine: "ablate";
  /** The command that repeats it. */
  readonly command: string;
  readonly settings: AblateSettings;
  readonly outcome: SimulateOutcome;
  readonly reason: string | null;
  readonly signal: string | null;
  readonly rows: readonly AblationRow[];
  /** Null if a machine that it needs was not measured, or B is no faster than A. */
  readonly slide: SlideFinding | null;
  readonly outOfSync: readonly PublishedRow[];
  /** Whether the gains have the published order; null if not all were measured. */
  readonly hasPublishedOrder: boolean | null;
  /** Laws of queues that did not hold: the simulation is wrong then. */
  readonly brokenLaws: number;
  readonly violations: readonly Violation[];
}
