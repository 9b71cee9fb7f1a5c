/** What is known of a lock from outside: its statistics, and who holds it. */
import { LOCK_WORDS } from "../memory/layout.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { DURATION_BUCKETS, DurationCell, LockCell, lockArea, readCount } from "./lock-area.ts";
import { lockClassOf, lockSiteName } from "./lock-class.ts";
import type { LockName } from "./lock-class.ts";

/** The statistics of one lock. Times in nanoseconds; a minimum or maximum of no durations is 0. */
export interface LockStatistics {
  readonly name: LockName;
  /** Outermost acquisitions: taking a lock again that one holds does not count. */
  readonly acquisitions: number;
  /** Acquisitions that had to wait. */
  readonly contentions: number;
  /** Acquisitions by another vCPU than the last. */
  readonly ownerChanges: number;
  readonly waitNanosTotal: number;
  readonly waitNanosMin: number;
  readonly waitNanosMax: number;
  /** Waits by length: bucket 0 below 2 ns, bucket k from 2^k to below 2^(k+1). */
  readonly waitBuckets: readonly number[];
  /** Holds that were timed, about one in 64. */
  readonly holdSamples: number;
  readonly holdNanosTotal: number;
  readonly holdNanosMin: number;
  readonly holdNanosMax: number;
  /** Timed holds by length, in buckets like those of the waits. */
  readonly holdBuckets: readonly number[];
}

/** Who holds a lock. */
export interface LockDescription {
  readonly name: LockName;
  /** The vCPU that holds it, undefined when it is free. */
  readonly vcpu: number | undefined;
  /** The place at which that vCPU took it. */
  readonly site: string | undefined;
}

interface Durations {
  readonly count: number;
  readonly total: number;
  readonly min: number;
  readonly max: number;
  readonly buckets: readonly number[];
}

function readDurations(memory: SharedMemory, record: number): Durations {
  const buckets: number[] = [];
  for (let bucket = 0; bucket < DURATION_BUCKETS; bucket++) {
    buckets.push(memory.loadGuarded(record + DurationCell.buckets + bucket) >>> 0);
  }
  return {
    count: readCount(memory, record + DurationCell.count),
    total: readCount(memory, record + DurationCell.total),
    min: memory.loadGuarded(record + DurationCell.min) >>> 0,
    max: memory.loadGuarded(record + DurationCell.max) >>> 0,
    buckets,
  };
}

/** The statistics of a lock. Exact at rest; while vCPUs run, its numbers may be of slightly different moments. */
export function readLockStatistics(memory: SharedMemory, layout: Layout, index: number): LockStatistics {
  const area = lockArea(layout, index);
  const waits = readDurations(memory, area + LockCell.waits);
  const holds = readDurations(memory, area + LockCell.holds);
  return {
    name: lockClassOf(index).name,
    acquisitions: readCount(memory, area + LockCell.acquisitions),
    contentions: waits.count,
    ownerChanges: readCount(memory, area + LockCell.ownerChanges),
    waitNanosTotal: waits.total,
    waitNanosMin: waits.min,
    waitNanosMax: waits.max,
    waitBuckets: waits.buckets,
    holdSamples: holds.count,
    holdNanosTotal: holds.total,
    holdNanosMin: holds.min,
    holdNanosMax: holds.max,
    holdBuckets: holds.buckets,
  };
}

/** Sets the statistics of a lock to zero. The caller holds the lock, or no vCPU runs. */
export function resetLockStatistics(memory: SharedMemory, layout: Layout, index: number): void {
  const area = lockArea(layout, index);
  for (let word = LockCell.acquisitions; word < LOCK_WORDS; word++) memory.storeGuarded(area + word, 0);
}

/** Who holds a lock, as last seen: it may have changed hands meanwhile. */
export function describeLock(memory: SharedMemory, layout: Layout, index: number): LockDescription {
  const area = lockArea(layout, index);
  const { name } = lockClassOf(index);
  const owner = memory.loadWord(area + LockCell.owner);
  if (owner === 0) return { name, vcpu: undefined, site: undefined };
  return { name, vcpu: owner - 1, site: lockSiteName(memory.loadWord(area + LockCell.site)) };
}

/**
 * The value that `percent` of the durations stay below, rounded up to a power of two: the upper bound of their bucket.
 * 0 when there are none.
 */
export function percentileOfBuckets(buckets: readonly number[], percent: number): number {
  let total = 0;
  for (const count of buckets) total += count;
  if (total === 0) return 0;
  const wanted = Math.max(1, Math.ceil((total * percent) / 100));
  let seen = 0;
  for (const [bucket, count] of buckets.entries()) {
    seen += count;
    if (seen >= wanted) return 2 ** (bucket + 1);
  }
  return 2 ** buckets.length;
}
