/** The result of `umbra calibrate`. */

/** A time that was measured again and again. */
export interface MeasuredTime {
  /** What takes the time. */
  readonly name: string;
  readonly about: string;
  /** The median of the rounds, in nanoseconds. */
  readonly nanos: number;
  readonly rounds: number;
  /** How far the middle half of the rounds reaches, by the median. */
  readonly spread: number;
}

/** A workload on one vCPU: what an operation of it takes, measured, and by the model that was fitted to all of them. */
export interface FittedWorkload {
  readonly name: string;
  /** The command that runs it by itself. */
  readonly command: string;
  /** Nanoseconds of a guest operation: the median of the rounds, and how far their middle half reaches, by it. */
  readonly nanos: number;
  readonly rounds: number;
  readonly spread: number;
  /** Nanoseconds of a guest operation by the model. */
  readonly fitted: number;
}

/** One number of the cost model that came of it. */
export interface CalibratedCost {
  /** As in the file: `nanos.hit`, `counters.exits`. */
  readonly path: string;
  readonly value: number;
  readonly source: string;
}

/** How a calibration ended. */
export type CalibrateOutcome = "completed" | "interrupted";

/** The result of a calibration. */
export interface CalibrateResult {
  readonly engine: "calibrate";
  /** The command that repeats it. */
  readonly command: string;
  readonly host: { readonly processor: string; readonly cores: number; readonly node: string };
  /** When it began, in UTC. */
  readonly at: string;
  readonly outcome: CalibrateOutcome;
  readonly reason: string | null;
  readonly signal: string | null;
  readonly primitives: readonly MeasuredTime[];
  readonly workloads: readonly FittedWorkload[];
  readonly costs: readonly CalibratedCost[];
  /** The file that was written; null when none was. */
  readonly output: string | null;
}
