/** What a stress run measured, put into the form of its result. */
import { percentileOfBuckets, readLockStatistics } from "../../locks/lock-statistics.ts";
import { Counter } from "../../memory/counters.ts";
import { LOCK_NAMES } from "../../memory/layout.ts";
import type { Machine } from "../../hypervisor/machine.ts";
import { DURATION_BUCKETS } from "../../locks/lock-area.ts";
import { isUsed, lockClassOf } from "../../locks/lock-class.ts";
import type { LockRow, LockWaitRow, VcpuRow } from "../../report/types.ts";
import { waitRows, withWaits } from "../lock-waits.ts";
import type { Member } from "./crew.ts";
import type { Heartbeats } from "./heartbeats.ts";
import type { Meter } from "./meter.ts";

const PERCENT = 99;
/** What counts the acquisitions of locks of which there are many. */
const COUNTER_OF: Readonly<Record<string, string | undefined>> = {
  "paging in part": "paging_parts",
  table: "table_locks",
  frame: "frame_locks",
};
const NANOS = 1e9;

/** A row for each lock of the machine, or kind of lock. Exact while nobody runs. */
export function lockRows({ memory, layout, config }: Machine): LockRow[] {
  return [...LOCK_NAMES.keys()].flatMap((index) => {
    const lock = readLockStatistics(memory, layout, index);
    if (!isUsed(index, config.granularity)) return [];
    return {
      name: lock.name,
      conBounces: lock.contentions,
      contentions: lock.contentions,
      waittimeMin: lock.waitNanosMin,
      waittimeMax: lock.waitNanosMax,
      waittimeTotal: lock.waitNanosTotal,
      waittimeAvg: rate(lock.waitNanosTotal, lock.contentions),
      waittimeP99: percentileOfBuckets(lock.waitBuckets, PERCENT),
      acqBounces: lock.ownerChanges,
      acquisitions: lock.acquisitions,
      holdSamples: lock.holdSamples,
      holdtimeMin: lock.holdNanosMin,
      holdtimeMax: lock.holdNanosMax,
      holdtimeTotal: lock.holdNanosTotal,
      holdtimeAvg: rate(lock.holdNanosTotal, lock.holdSamples),
      ownerChanges: lock.ownerChanges,
      utilisation: 0,
      waitingShare: 0,
      topWaitingSite: null,
      topHoldingSite: null,
    };
  });
}

/** The rows of a run of so many seconds, with what only its end tells: shares of the time of its threads, and who waited. */
export function finishedLocks(
  rows: readonly LockRow[],
  waits: readonly LockWaitRow[],
  { seconds, threads }: { readonly seconds: number; readonly threads: number },
): LockRow[] {
  const nanos = seconds * NANOS;
  return rows.map((row) =>
    withWaits(
      {
        ...row,
        utilisation: rate(row.holdtimeAvg * row.acquisitions, nanos),
        waitingShare: rate(row.waittimeTotal, nanos * threads),
      },
      waits,
    ),
  );
}

/**
 * The rows with those of kinds of which there are many filled in: each vCPU counts what it takes of them, and keeps how long
 * it waited. How long they are held nobody measures: that would cost more than the holds.
 */
export function withPageLocks(
  rows: readonly LockRow[],
  members: readonly Member[],
  counters: Readonly<Record<string, number>>,
): LockRow[] {
  const all = members.flatMap(({ report }) => report?.waitLengths ?? []);
  return rows.map((row) => {
    const counter = COUNTER_OF[row.name];
    if (counter === undefined) return row;
    const own = all.filter(({ lock }) => lockClassOf(lock).name === row.name);
    const buckets = Array.from({ length: DURATION_BUCKETS }, (_, length) =>
      sum(own.map((each) => each.buckets[length] ?? 0)),
    );
    const waits = members
      .flatMap(({ report }) => report?.waits ?? [])
      .filter(({ lock }) => lockClassOf(lock).name === row.name);
    const contentions = sum(waits.map(({ count }) => count));
    const waittimeTotal = sum(waits.map(({ nanos }) => nanos));
    return {
      ...row,
      acquisitions: counters[counter] ?? 0,
      contentions,
      // Of many locks nobody knows who had one last.
      conBounces: 0,
      waittimeTotal,
      waittimeAvg: rate(waittimeTotal, contentions),
      waittimeMin: own.length === 0 ? 0 : Math.min(...own.map(({ min }) => min)),
      waittimeMax: Math.max(0, ...own.map(({ max }) => max)),
      waittimeP99: percentileOfBuckets(buckets, PERCENT),
    };
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** What the threads of a run waited for locks. */
export function memberWaits(members: readonly Member[]): LockWaitRow[] {
  return members.flatMap(({ task, report }) => waitRows(task.member, report?.waits ?? []));
}

/** A row for each vCPU, and one for the toolstack if there is one. */
export function vcpuRows(
  members: readonly Member[],
  programs: readonly string[],
  measured: { heartbeats: Heartbeats; meter: Meter; seconds: number },
): VcpuRow[] {
  const { heartbeats, meter, seconds } = measured;
  return members.map((member) => {
    const vcpu = member.task.member;
    const isToolstack = vcpu === member.task.machine.config.vcpus;
    const operations = isToolstack ? (member.report?.calls ?? 0) : heartbeats.total(vcpu);
    const faults = meter.of(vcpu, Counter.demand_faults);
    return {
      vcpu,
      program: programs[vcpu] ?? "",
      end: endOf(member),
      operations,
      faults,
      operationsPerSecond: rate(operations, seconds),
      faultsPerSecond: rate(faults, seconds),
    };
  });
}

/** `amount` for each of `per`; 0 when there is none. */
export function rate(amount: number, per: number): number {
  return per === 0 ? 0 : amount / per;
}

function endOf({ report, terminate }: Member): VcpuRow["end"] {
  if (report !== undefined) return report.end;
  return terminate.signal.aborted ? "terminated" : "died";
}
