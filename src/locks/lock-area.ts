/**
 * The words of one lock, and how its holder counts in them. The first sixteen, one cache line, are the lock itself;
 * behind them lie its statistics, guarded by the lock.
 */
import { LOCK_NAMES, LOCK_WORDS, QUEUE_NODE_WORDS } from "../memory/layout.ts";
import type { CellGuard, Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";

/** Offsets in the area of a lock. */
export const LockCell = {
  /** Test-and-set, atomic: 0 free, 1 held; a wait pair. */
  held: 0,
  /** Ticket, atomic: the next ticket to hand out. */
  nextTicket: 2,
  /** Ticket, atomic: the ticket whose turn it is; a wait pair. */
  nowServing: 4,
  /** Number of the holder plus 1, 0 when free. Written by the holder, read by anybody, who may see an older value. */
  owner: 6,
  /** How often the holder holds it. */
  depth: 7,
  /** The `LockSite` at which the holder took it. Read by anybody, like the owner. */
  site: 8,
  /** Number of the last holder plus 1, 0 before the first. */
  lastOwner: 9,
  /** MCS, atomic: number of the last in the queue plus 1, 0 when the lock is free. */
  queueTail: 10,
  /** Futex, atomic: 0 free, 1 held, 2 held while somebody may wait; a wait pair. */
  state: 12,
  /** First word of the statistics. Outermost acquisitions, two words. */
  acquisitions: 16,
  /** Acquisitions by another vCPU than the last, two words. */
  ownerChanges: 18,
  /** Durations of the waits of contended acquisitions. */
  waits: 24,
  /** Durations of sampled holds. */
  holds: 64,
} as const;

const TAKES = "taking the lock orders its holders";
const NAMES =
  "a vCPU asks whether it is itself the holder: nobody else writes its number, and it takes it out before it lets go";

/** Guards of the words of the lock itself; all others are the holder's. */
export const LOCK_CELL_GUARDS: Readonly<Partial<Record<keyof typeof LockCell, CellGuard>>> = {
  held: { guard: "atomic", publishes: true, because: TAKES },
  nextTicket: { guard: "atomic", publishes: true, because: TAKES },
  nowServing: { guard: "atomic", publishes: true, because: TAKES },
  queueTail: { guard: "atomic", publishes: true, because: TAKES },
  state: { guard: "atomic", publishes: true, because: TAKES },
  owner: { guard: "its own lock", anybody: "reads", because: NAMES },
  site: { guard: "its own lock", anybody: "reads", because: "only for the messages of the watchdog" },
};

/** Offsets in a vCPU's node in the queue of an MCS lock. All atomic. */
export const QueueCell = {
  /** 1 until the predecessor calls its vCPU; a wait pair. */
  waits: 0,
  /** Number of the successor plus 1, 0 while there is none or it has not said so; a wait pair. */
  next: 2,
} as const;

/** Guards of the words of a node. */
export const QUEUE_CELL_GUARDS: Readonly<Partial<Record<keyof typeof QueueCell, CellGuard>>> = {
  waits: { guard: "atomic", publishes: true, because: TAKES },
};

/** Offsets in a record of durations. */
export const DurationCell = {
  /** How many were recorded, two words. */
  count: 0,
  /** Their sum in nanoseconds, two words. */
  total: 2,
  min: 4,
  max: 5,
  /** `DURATION_BUCKETS` counts: bucket 0 of durations below 2 ns, bucket k of those from 2^k to below 2^(k+1). */
  buckets: 8,
} as const;

/** Buckets in a record of durations. The last also holds whatever is longer. */
export const DURATION_BUCKETS = 32;

const WORD = 2 ** 32;
const LONGEST = WORD - 1;

/** First word of a lock. */
export function lockArea(layout: Layout, index: number): number {
  return layout.regions.locks.offset + index * LOCK_WORDS;
}

/** First word of a vCPU's node in the queue of a lock. */
export function queueNode(layout: Layout, vcpu: number, lock: number): number {
  return layout.regions.queues.offset + (vcpu * LOCK_NAMES.length + lock) * QUEUE_NODE_WORDS;
}

/** Adds 1 to a count of two words. The caller holds the lock. */
export function countUp(memory: SharedMemory, cell: number): void {
  const low = (memory.loadGuarded(cell) + 1) | 0;
  memory.storeGuarded(cell, low);
  if (low === 0) memory.storeGuarded(cell + 1, memory.loadGuarded(cell + 1) + 1);
}

/** A count of two words. Exact when the caller holds the lock or nobody else runs. */
export function readCount(memory: SharedMemory, cell: number): number {
  return (memory.loadGuarded(cell + 1) >>> 0) * WORD + (memory.loadGuarded(cell) >>> 0);
}

/** Records a duration. The caller holds the lock. */
export function recordDuration(memory: SharedMemory, record: number, nanos: number): void {
  const whole = Math.trunc(nanos);
  const clamped = Math.min(whole, LONGEST);
  const isFirst = readCount(memory, record + DurationCell.count) === 0;
  countUp(memory, record + DurationCell.count);

  const total = record + DurationCell.total;
  const sum = (memory.loadGuarded(total) >>> 0) + whole;
  memory.storeGuarded(total, (sum % WORD) | 0);
  memory.storeGuarded(total + 1, memory.loadGuarded(total + 1) + Math.floor(sum / WORD));

  const min = record + DurationCell.min;
  if (isFirst || clamped < memory.loadGuarded(min) >>> 0) memory.storeGuarded(min, clamped | 0);
  const max = record + DurationCell.max;
  if (clamped > memory.loadGuarded(max) >>> 0) memory.storeGuarded(max, clamped | 0);

  const bucket = record + DurationCell.buckets + (clamped === 0 ? 0 : 31 - Math.clz32(clamped));
  const inBucket = memory.loadGuarded(bucket) >>> 0;
  if (inBucket < LONGEST) memory.storeGuarded(bucket, (inBucket + 1) | 0);
}
