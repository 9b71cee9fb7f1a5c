/** The locks of a run in the columns of Linux' /proc/lock_stat, and who waited for them where. The same for all engines. */
import type { LockPlaces, LockRow, LockWaitRow } from "./stress-result.ts";
import { count, indent, micros, percent, table } from "./text.ts";

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
  "held",
  "waited\nfor",
];
/** Rows of each breakdown of the waits. */
const SHOWN = 5;

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
      percent(lock.utilisation),
      percent(lock.waitingShare),
    ]),
  );
}

/**
 * Who waited for which lock where, most time first: by the places of both, and by thread of a machine of so many vCPUs.
 * Empty when nobody waited.
 */
export function waitTables(waits: readonly LockWaitRow[], places: LockPlaces, vcpus: number): string[] {
  if (waits.length === 0) return [];
  const bySite = summed(waits, ({ lock, site, heldAt }) => [lock, site, heldAt]).slice(0, SHOWN);
  const shown = new Set(bySite.flatMap(({ keys }) => keys.slice(1)));
  const known = [...shown].filter((site) => places[site] !== undefined);
  const byVcpu = summed(waits, ({ lock, vcpu }) => [lock, threadName(vcpu, vcpus)]);
  return [
    table(["waits for", "at", "while it is held at", "waits", "total"], bySite.map(cells), 3),
    ...(known.length === 0 ? [] : [indent(known.map((site) => placeName(site, places)).join("\n"))]),
    table(["waits for", "of", "waits", "total"], byVcpu.slice(0, SHOWN).map(cells), 2),
  ];
}

/** A thread by its number: the toolstack has the one behind the last vCPU. */
export function threadName(thread: number, vcpus: number): string {
  return thread === vcpus ? "toolstack" : `vCPU ${String(thread)}`;
}

/** A place with the lines of source at which it takes locks, where they are known. */
export function placeName(site: string, places: LockPlaces): string {
  const lines = places[site];
  return lines === undefined ? site : `${site} (${lines})`;
}

interface Sum {
  readonly keys: readonly string[];
  count: number;
  nanos: number;
}

function summed(waits: readonly LockWaitRow[], keysOf: (row: LockWaitRow) => readonly string[]): Sum[] {
  const sums = new Map<string, Sum>();
  for (const row of waits) {
    const keys = keysOf(row);
    const sum = sums.get(keys.join("\n")) ?? { keys, count: 0, nanos: 0 };
    sum.count += row.count;
    sum.nanos += row.nanos;
    sums.set(keys.join("\n"), sum);
  }
  return [...sums.values()].toSorted((a, b) => b.nanos - a.nanos);
}

function cells({ keys, count: times, nanos }: Sum): string[] {
  return [...keys, count(times), micros(nanos)];
}
