/** Two vCPUs on two threads, in address spaces that share nothing: how much more they do than one. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { MachineHandle } from "../src/hypervisor/machine.ts";
import { BenchGuest } from "./guest.ts";

/** Pages that each vCPU loads from, in turn: a quarter of its TLB. A power of two. */
export const PAGES = 128;
/** Loads of a vCPU in one round. */
export const LOADS = 1 << 14;
/**
 * Cells by which the rounds are started and ended. A round is its number times 4 plus the mask of its vCPUs, in one word:
 * who wakes late must not see the mask of one round with the number of another. The last one's mask is empty.
 */
export const RoundCell = { round: 0, missing: 1, done: 2 } as const;

/** Many short rounds: some are undisturbed, whatever else the machine does. */
const ROUNDS = 1000;

/** What the thread of a vCPU gets. */
export interface VcpuTask {
  readonly handle: MachineHandle;
  readonly id: number;
  readonly root: number;
  readonly cells: Int32Array;
  /** When each vCPU began and ended its part of the last round, two numbers a vCPU, by the clock that all threads share. */
  readonly span: Float64Array;
}

/**
 * Work of two vCPUs by that of one in the same time: best round against best round, taking turns. A round of two lasts
 * from the first beginning to the last end. If each timed itself, two that never ran at the same time would look like
 * twice the work: on a single core, too.
 */
export async function measureTwoVcpus(): Promise<number> {
  const guest = BenchGuest.create({ prefetch: true, vcpus: 2 });
  const cells = new Int32Array(new SharedArrayBuffer(16));
  const span = new Float64Array(new SharedArrayBuffer(32));
  const workers = [0, 1].map((id) => {
    const task: VcpuTask = {
      handle: guest.machine.handle,
      id,
      root: guest.roots[id]?.[0] ?? 0,
      cells,
      span,
    };
    return new Worker(new URL("two-vcpus-worker.ts", import.meta.url), { workerData: task });
  });
  const exits = workers.map((worker) => once(worker, "exit"));
  let one = Infinity;
  let two = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    await runRound(cells, 0b01);
    one = Math.min(one, duration(span.subarray(0, 2)));
    await runRound(cells, 0b10);
    one = Math.min(one, duration(span.subarray(2, 4)));
    await runRound(cells, 0b11);
    two = Math.min(two, duration(span));
  }
  startRound(cells, 0);
  await Promise.all(exits);
  return (2 * one) / two;
}

/** From the first beginning to the last end: an end is later than every beginning, its own at least. */
export function duration(span: Float64Array): number {
  return Math.max(...span) - Math.min(...span);
}

function startRound(cells: Int32Array, mask: number): number {
  const members = (mask & 1) + (mask >>> 1);
  Atomics.store(cells, RoundCell.missing, members);
  Atomics.store(cells, RoundCell.done, 0);
  const last = Atomics.load(cells, RoundCell.round);
  Atomics.store(cells, RoundCell.round, (((last >>> 2) + 1) << 2) | mask);
  Atomics.notify(cells, RoundCell.round);
  return members;
}

async function runRound(cells: Int32Array, mask: number): Promise<void> {
  const members = startRound(cells, mask);
  for (;;) {
    const done = Atomics.load(cells, RoundCell.done);
    if (done === members) return;
    await Atomics.waitAsync(cells, RoundCell.done, done).value;
  }
}
