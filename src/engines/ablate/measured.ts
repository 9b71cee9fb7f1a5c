/** What is measured of a machine, wherever it runs: time for an operation, and what was counted. */
import type { AblationCount, SimulateOutcome, Violation } from "../../report/types.ts";

/** One machine. */
export interface Measured {
  /** Time for an operation, in nanoseconds. */
  readonly nanos: number;
  readonly perThousand: Readonly<Record<AblationCount, number>>;
}

/** Machines in their order, undefined for those that did not come to their end, and how it went. */
export interface Measurements {
  readonly machines: readonly (Measured | undefined)[];
  readonly outcome: SimulateOutcome;
  /** Why not all came to their end; null if they did. */
  readonly reason: string | null;
  readonly violations: readonly Violation[];
  /** Laws of queues that did not hold. */
  readonly brokenLaws: number;
}

/** Counters that each count sums up. `lockHolds` is counted by the lock itself. */
const COUNTED: Readonly<Record<Exclude<AblationCount, "lockHolds">, readonly string[]>> = {
  exits: ["exits"],
  fastFaults: ["fault_fast_gnp", "fault_fast_mmio"],
  slowFaults: ["guest_walk"],
  emulations: ["emulated_stores"],
  shadowsMade: ["hash_inserts"],
  flushes: ["flush_requests"],
};

/** Counts for a thousand of `operations`. */
export function perThousand(
  operations: number,
  counters: Readonly<Record<string, number>>,
  lockHolds: number,
): Record<AblationCount, number> {
  const rate = (count: number): number => (count * 1000) / operations;
  const counted = (count: keyof typeof COUNTED): number =>
    rate(COUNTED[count].reduce((sum, name) => sum + (counters[name] ?? 0), 0));
  return {
    exits: counted("exits"),
    fastFaults: counted("fastFaults"),
    slowFaults: counted("slowFaults"),
    lockHolds: rate(lockHolds),
    emulations: counted("emulations"),
    shadowsMade: counted("shadowsMade"),
    flushes: counted("flushes"),
  };
}
