/** What `umbra trace verify` found: a recorded guest replayed through shadow pagetables. */
import type { Violation } from "./stress-result.ts";

/**
 * How a replay ended.
 * - `completed`: all records were replayed.
 * - `stopped`: the machine stopped before, because the domain crashed; `violations` says why.
 * - `interrupted`: by Ctrl-C or another signal; what had been counted is in the result.
 * - `worker-died`: a worker threw, or was terminated from outside.
 * - `stuck`: the watchdog fired.
 */
export type VerifyOutcome = "completed" | "stopped" | "interrupted" | "worker-died" | "stuck";

/** The result of one replay. */
export interface VerifyResult {
  readonly engine: "replay";
  /** The command that repeats the run. */
  readonly command: string;
  readonly file: string;
  /** `strict` or `causal`. */
  readonly order: string;
  readonly preset: string;
  readonly switches: Readonly<Record<string, boolean>>;
  /** The machine's other settings, by the names that `--set` knows. */
  readonly machine: Readonly<Record<string, string | number>>;
  readonly vcpus: number;
  readonly outcome: VerifyOutcome;
  /** One sentence that says why, unless the replay completed. */
  readonly reason: string | null;
  /** The signal that interrupted the run, if one did. */
  readonly signal: string | null;
  /** Records of the trace. */
  readonly records: number;
  /** Those that were replayed, as far as the threads reported: all, if the replay completed. */
  readonly replayed: number;
  /** Translations that were compared, and those that led elsewhere or granted more than was recorded. */
  readonly fills: number;
  readonly fillMismatches: number;
  /** Page faults, and those that were not injected, or with another error code. */
  readonly faults: number;
  readonly faultMismatches: number;
  /** Stores to tables, and those that led elsewhere or over another value. */
  readonly stores: number;
  readonly storeMismatches: number;
  /** Entries of tracked tables whose content at the end is another; null when the replay did not come to its end. */
  readonly tableMismatches: number | null;
  /**
   * With out-of-sync shadows: differences in an A bit or in rights that a processor with a TLB could have made as well, each
   * proved from the trace; they are no mismatches.
   */
  readonly legalDifferences: number;
  /** Of these, those in rights. */
  readonly legalRights: number;
  readonly violations: readonly Violation[];
  /** Accesses answered by a TLB. */
  readonly tlbHits: number;
  /** Accesses answered by a walk of the shadow tables, or refused by one. */
  readonly shadowWalks: number;
  /** Exits because of a page fault. */
  readonly demandFaults: number;
  /** Guest stores to shadowed tables, trapped and executed by the emulator. */
  readonly emulatedStores: number;
  /** Words stored where no 1–1 map of the guest reaches. */
  readonly deviceWrites: number;
  /** Accesses to what is no memory. */
  readonly mmio: number;
  /** Calls to give up the shadows of a page. */
  readonly unshadows: number;
  /** Flushes of a whole TLB. */
  readonly flushes: number;
  /** How often a vCPU took the paging lock, when it did not hold it yet. */
  readonly lockAcquisitions: number;
  /** How often the turn went from one vCPU's thread to another's. */
  readonly handovers: number;
  /** Time that the replay took. */
  readonly seconds: number;
  /** Every counter, summed over all vCPUs. */
  readonly counters: Readonly<Record<string, number>>;
  /** The first mismatches, ten at most, each as lines of text. */
  readonly first: readonly (readonly string[])[];
}
