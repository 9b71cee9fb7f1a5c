/** What a stress run measured, put into the form of its result. */
import { percentileOfBuckets, readLockStatistics } from "../../locks/lock-statistics.ts";
import { Counter } from "../../memory/counters.ts";
import { LOCK_NAMES } from "../../memory/layout.ts";
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import type { LockRow, LockWaitRow, VcpuRow } from "../../report/types.ts";
import { waitRows, withWaits } from "../lock-waits.ts";
import type { Member } from "./crew.ts";
import type { Heartbeats } from "./heartbeats.ts";
import type { Meter } from "./meter.ts";

const PERCENT = 99;
const NANOS = 1e9;

/** A row for each lock of the machine. Exact while nobody runs. */
export function lockRows(memory: SharedMemory, layout: Layout): LockRow[] {
  return LOCK_NAMES.map((_, index) => {
    const lock = readLockStatistics(memory, layout, index);
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
