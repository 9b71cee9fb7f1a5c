/** What each thread waits for, read from its pending operation. */
import type { Wait } from "../../../checks/deadlock.ts";
import { LockWords } from "../../../checks/lock-words.ts";
import { cellName } from "../../../checks/cell-names.ts";
import { LockCell, QueueCell, lockArea } from "../../../locks/lock-area.ts";
import { lockPhrase } from "../../../locks/lock-class.ts";
import { LOCK_NAMES, LOCK_WORDS, QUEUE_NODE_WORDS, VCPU_WORDS } from "../../../memory/layout.ts";
import type { Layout } from "../../../memory/layout.ts";
import { VcpuCell } from "../../../memory/vcpu-area.ts";
import { AccessKind } from "../../coroutine/accessors.ts";
import type { Scheduler } from "../scheduler.ts";

/** Who waits for a part waits for whoever has or wants the whole, whose number stands where the whole is asked for. */
const IN_PART = LOCK_NAMES.indexOf("paging in part");

/** Threads that have not ended and cannot go on, with what they wait for. `layout` is null for a small program. */
export function waitsOf(scheduler: Scheduler, layout: Layout | null): Wait[] {
  const waits: Wait[] = [];
  for (let thread = 0; thread < scheduler.threads; thread++) {
    if (((scheduler.live >>> thread) & 1) === 0 || scheduler.canGoOn(thread)) continue;
    waits.push(layout === null ? programWait(scheduler, thread) : machineWait(scheduler, thread, layout));
  }
  return waits;
}

function programWait(scheduler: Scheduler, thread: number): Wait {
  const cell = scheduler.cell[thread] ?? 0;
  const owner = (of: number): number => (scheduler.view[of] ?? 0) - 1;
  const kind = scheduler.kind[thread] ?? AccessKind.read;
  if (kind === AccessKind.lock)
    return { thread, on: "lock", for: owner(cell), name: `the lock at cell ${String(cell)}` };
  if (kind === AccessKind.join)
    return { thread, on: "join", for: cell, name: `the end of thread ${String(cell)}` };
  if (kind !== AccessKind.relock) return { thread, on: "cell", for: -1, name: `cell ${String(cell)}` };
  if ((((scheduler.view[cell] ?? 0) >>> thread) & 1) !== 0)
    return { thread, on: "signal", for: -1, name: `the condition at cell ${String(cell)}` };
  const lock = scheduler.other[thread] ?? 0;
  return { thread, on: "lock", for: owner(lock), name: `the lock at cell ${String(lock)}` };
}

function machineWait(scheduler: Scheduler, thread: number, layout: Layout): Wait {
  const cell = scheduler.cell[thread] ?? 0;
  const { vcpus } = layout.regions;
  const name = cellName(layout, cell);
  const lock = lockWaitedFor(layout, cell);
  if (lock >= 0) {
    const owner = ownerOf(scheduler, layout, cell, lock);
    return { thread, on: "lock", for: owner, lock, name: lockPhrase(lock) };
  }
  if (cell >= vcpus.offset && cell < vcpus.offset + vcpus.words) {
    const vcpu = Math.floor((cell - vcpus.offset) / VCPU_WORDS);
    const offset = (cell - vcpus.offset) % VCPU_WORDS;
    if (offset === VcpuCell.flushAcknowledged)
      return { thread, on: "flush", for: vcpu, name: `the flush of vCPU ${String(vcpu)}` };
    if (offset === VcpuCell.doorbell && vcpu === thread)
      return { thread, on: "interrupt", for: -1, name: "an interrupt" };
  }
  return { thread, on: "cell", for: -1, name };
}

/** Who holds what a thread waits for on a cell: parts and locks of pages name their holder themselves. */
function ownerOf({ view }: Scheduler, layout: Layout, cell: number, lock: number): number {
  const words = new LockWords(layout);
  const part = words.partAt(cell);
  if (part >= 0) return part;
  if (lock === IN_PART || words.lockAt(cell) >= 0) return (view[cell] ?? 0) - 1;
  return (view[lockArea(layout, lock) + LockCell.owner] ?? 0) - 1;
}

/** The lock that whoever waits on a cell waits for; -1 when for something else. */
function lockWaitedFor(layout: Layout, cell: number): number {
  const { locks, queues } = layout.regions;
  const held = new LockWords(layout).lockAt(cell);
  if (held >= 0) return held;
  if (cell >= locks.offset && cell < locks.offset + locks.words)
    return Math.floor((cell - locks.offset) / LOCK_WORDS);
  if (cell < queues.offset || cell >= queues.offset + queues.words) return -1;
  const at = cell - queues.offset;
  // A holder that is about to leave waits for its successor's name, not for the lock.
  return at % QUEUE_NODE_WORDS === QueueCell.waits
    ? Math.floor(at / QUEUE_NODE_WORDS) % LOCK_NAMES.length
    : -1;
}
