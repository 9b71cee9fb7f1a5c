/** What `umbra stress --vs` measured: two presets on one scenario, in alternating slices. */
import type { RunSettings, StressOutcome, StressResult, Violation } from "./stress-result.ts";

/** One of the two presets. */
export interface CompareSide {
  readonly preset: string;
  /** Slices that ran to their end. */
  readonly slices: number;
  readonly seconds: number;
  readonly operations: number;
  readonly faults: number;
  readonly operationsPerSecond: number;
  readonly faultsPerSecond: number;
  /** Every counter, summed over all slices. */
  readonly counters: Readonly<Record<string, number>>;
  /** Counters by guest operation, times a thousand: what one kind of work costs, whatever the speed. */
  readonly perThousandOperations: Readonly<Record<string, number>>;
}

/** The result of one comparison. Ratios are those of the second side to the first; null where the first has none. */
export interface CompareResult {
  readonly engine: "compare";
  readonly command: string;
  /** Of the first side; the second differs in preset and switches alone. */
  readonly settings: RunSettings;
  readonly sides: readonly [CompareSide, CompareSide];
  readonly ratios: {
    readonly operationsPerSecond: number | null;
    readonly faultsPerSecond: number | null;
    /** Of `perThousandOperations`, for each counter that either side counted. */
    readonly counters: Readonly<Record<string, number | null>>;
  };
  readonly outcome: StressOutcome;
  readonly reason: string | null;
  readonly signal: string | null;
  readonly audits: number;
  readonly violations: readonly Violation[];
  readonly stuck: StressResult["stuck"];
}
