/** What one vCPU's thread found in a replay. Plain data, sent back to the main thread. */
import type { Finding } from "../../machine/vcpu.ts";

/** A record that came out otherwise than recorded, with what both tables said of its address at that moment. */
export interface Mismatch {
  /** Number of the record; one that is not of the trace for tables compared at the end. */
  readonly record: number;
  readonly what: string;
  readonly guestWalk: readonly string[];
  readonly shadowWalk: readonly string[];
  /** Guest physical addresses of the entries of the guest's walk, and of what was stored to. */
  readonly entries: readonly number[];
}

/** Numbers of what was replayed, of what was compared, and of what differed. */
export interface Counts {
  /** Records, of whatever type. */
  replayed: number;
  fills: number;
  fillMismatches: number;
  faults: number;
  faultMismatches: number;
  stores: number;
  storeMismatches: number;
  /** Differences that out-of-sync shadows may make, each proved from the trace; no mismatches. */
  legalDifferences: number;
  /** Of these, those in the rights of an access. */
  legalRights: number;
}

/** What one vCPU's replay came to. */
export interface ReplayOutcome extends Readonly<Counts> {
  readonly vcpu: number;
  /** False when the machine stopped before the trace was over. */
  readonly isFinished: boolean;
  readonly handovers: number;
  readonly first: readonly Mismatch[];
  readonly findings: readonly Finding[];
  /** Stores that crossed into another page: number of the record, and where that page lies. */
  readonly crossings: readonly (readonly [record: number, page: number])[];
}

/** Mismatches of which the details are kept. */
export const SHOWN_MAX = 10;

/** Nothing replayed yet. */
export function noCounts(): Counts {
  return {
    replayed: 0,
    fills: 0,
    fillMismatches: 0,
    faults: 0,
    faultMismatches: 0,
    stores: 0,
    storeMismatches: 0,
    legalDifferences: 0,
    legalRights: 0,
  };
}
