/** The locks of a run in the columns of Linux' /proc/lock_stat. */
import type { LockRow } from "./stress-result.ts";
import { count, micros, table } from "./text.ts";

const HEAD = [
  "lock",
  "con-\nbounces",
  "conten-\ntions",
  "waittime\nmin",
  "\nmax",
  "\ntotal",
  "\navg",
  "\np99 <",
  "acq-\nbounces",
  "acqui-\nsitions",
  "holdtime\nmin",
  "\nmax",
  "\ntotal",
  "\navg",
  "owner\nchanges",
];

/** The table, times in microseconds, hold times of the holds that were timed. */
export function lockTable(locks: readonly LockRow[]): string {
  return table(
    HEAD,
    locks.map((lock) => [
      lock.name,
      count(lock.conBounces),
      count(lock.contentions),
      micros(lock.waittimeMin),
      micros(lock.waittimeMax),
      micros(lock.waittimeTotal),
      micros(lock.waittimeAvg),
      micros(lock.waittimeP99),
      count(lock.acqBounces),
      count(lock.acquisitions),
      micros(lock.holdtimeMin),
      micros(lock.holdtimeMax),
      micros(lock.holdtimeTotal),
      micros(lock.holdtimeAvg),
      count(lock.ownerChanges),
    ]),
  );
}
