/**
 * The laws that hold in every run, whatever the scenario (Denning and Buzen's operational analysis): each compares two
 * sums that were kept apart. A law that is broken is a finding about the simulator, never about the scenario.
 */
import { LOCK_NAMES } from "../../memory/layout.ts";
import type { LawRow } from "../../report/types.ts";
import type { LockAccount } from "./lock-watch.ts";

/** Times are whole nanoseconds and sums are exact: what is left for rounding is next to nothing. */
const TOLERANCE = 1e-9;

/** Sums over the measured time that laws are about. */
export interface Sums {
  /** How far the vCPUs' own times went, all together. */
  readonly elapsed: number;
  /** What accesses, counted events and waits took of it. */
  readonly accounted: number;
  /** Times at which somebody was chosen whose time was past. */
  readonly backwards: number;
}

/** Every law, on every lock that was used. */
export function checkLaws(accounts: readonly LockAccount[], sums: Sums): LawRow[] {
  const rows: LawRow[] = [
    law("time", null, sums.elapsed, sums.accounted),
    law("order", null, 0, sums.backwards),
  ];
  for (const [index, account] of accounts.entries()) {
    if (account.population === 0 && account.wanted === 0) continue;
    const lock = LOCK_NAMES[index] ?? "";
    // Little: the mean number of vCPUs at a lock is how many come in a time, by how long each stays.
    rows.push(law("little", lock, account.wanted + account.held, account.population));
    // Utilisation: the part of the time that a lock is held is how often it is taken, by how long it is held.
    rows.push(law("utilisation", lock, account.held, account.busy));
  }
  return rows;
}

function law(name: LawRow["law"], lock: string | null, expected: number, measured: number): LawRow {
  const holds = Math.abs(measured - expected) <= TOLERANCE * Math.max(Math.abs(expected), 1);
  return { law: name, lock, expected, measured, holds };
}
