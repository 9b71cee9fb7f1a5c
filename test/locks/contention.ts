/** Runs lock tests on real threads, one for each vCPU. What a thread does is in contender.ts. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { LockKind } from "../../src/locks/gate.ts";
import { readLockStatistics } from "../../src/locks/lock-statistics.ts";
import type { LockStatistics } from "../../src/locks/lock-statistics.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import type { Layout } from "../../src/memory/layout.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import type { SharedMemoryHandle } from "../../src/memory/shared-memory.ts";
import { smallLayout } from "./test-vcpu.ts";

/** Offsets in the control region. Nobody ever writes `idle`. */
export const ControlCell = { gate: 0, stop: 1, inside: 2, counter: 3, idle: 4, arrivals: 8 } as const;

export interface Contention {
  readonly handle: SharedMemoryHandle;
  readonly layout: Layout;
  readonly kind: LockKind;
  readonly vcpu: number;
  readonly vcpus: number;
  /** How often each vCPU takes the lock, for `count`. */
  readonly rounds: number;
  readonly job: "count" | "queue" | "flush";
  /** A planted fault: atomic updates are a load and then a store; or nobody serves a mailbox. */
  readonly fault: "none" | "torn" | "deaf";
}

export interface Outcome {
  /** How often two vCPUs were seen inside at once. */
  readonly overlaps: number;
  readonly checks: readonly string[];
  /** Whether the flush asked of the waiter was acknowledged while the lock was held. */
  readonly isAcknowledged: boolean;
}

/** What came of a run. */
export interface Run {
  readonly outcomes: readonly Outcome[];
  readonly statistics: LockStatistics;
  readonly counter: number;
  /** The vCPUs in the order in which they got the lock, for `queue`. */
  readonly arrivals: readonly number[];
}

/** Lets `vcpus` threads contend for the paging lock of a new machine, and returns when all have ended. */
export async function contend(
  task: Pick<Contention, "job" | "kind" | "vcpus"> & Partial<Pick<Contention, "rounds" | "fault">>,
): Promise<Run> {
  const layout = smallLayout(task.vcpus);
  const memory = SharedMemory.create(layout.words);
  const workers = Array.from({ length: task.vcpus }, (_, vcpu) => {
    const workerData: Contention = { handle: memory.handle, layout, rounds: 0, fault: "none", ...task, vcpu };
    return new Worker(new URL("./contender.ts", import.meta.url), { workerData });
  });
  try {
    const messages = await Promise.all(workers.map(async (worker) => once(worker, "message")));
    const control = layout.regions.control.offset;
    const arrivals = control + ControlCell.arrivals;
    return {
      outcomes: messages.map(([outcome]) => outcome as Outcome),
      statistics: readLockStatistics(memory, layout, LOCK_NAMES.indexOf("paging")),
      counter: memory.loadWord(control + ControlCell.counter),
      arrivals: Array.from(memory.view.subarray(arrivals, arrivals + task.vcpus)),
    };
  } finally {
    await Promise.all(workers.map(async (worker) => worker.terminate()));
  }
}
