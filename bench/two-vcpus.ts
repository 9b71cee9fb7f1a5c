/** Two vCPUs on two threads, in address spaces that share nothing: how much more they do than one. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { MachineHandle } from "../src/hypervisor/machine.ts";
import { BenchGuest } from "./guest.ts";

/** Pages that each vCPU loads from, in turn: a quarter of its TLB. A power of two. */
export const PAGES = 128;
/** Loads of a vCPU in one round. */
export const LOADS = 1 << 16;
/** Cells by which the rounds are started and ended. */
export const RoundCell = { round: 0, mask: 1, missing: 2, done: 3 } as const;

/** Many short rounds: some are undisturbed, whatever else the machine does. */
const ROUNDS = 300;

/** What the thread of a vCPU gets. */
export interface VcpuTask {
  readonly handle: MachineHandle;
  readonly id: number;
  readonly root: number;
  readonly cells: Int32Array;
  /** Duration of the last round, by vCPU. */
  readonly millis: Float64Array;
}

/** Work of two vCPUs by that of one in the same time: best round against best round, taking turns. */
export async function measureTwoVcpus(): Promise<number> {
  const guest = BenchGuest.create({ prefetch: true, vcpus: 2 });
  const cells = new Int32Array(new SharedArrayBuffer(16));
  const millis = new Float64Array(new SharedArrayBuffer(16));
  const workers = [0, 1].map((id) => {
    const task: VcpuTask = {
      handle: guest.machine.handle,
      id,
      root: guest.roots[id]?.[0] ?? 0,
      cells,
      millis,
    };
    return new Worker(new URL("two-vcpus-worker.ts", import.meta.url), { workerData: task });
  });
  const exits = workers.map((worker) => once(worker, "exit"));
  let one = Infinity;
  let two = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    await runRound(cells, 0b01);
    one = Math.min(one, millis[0] ?? Infinity);
    await runRound(cells, 0b10);
    one = Math.min(one, millis[1] ?? Infinity);
    await runRound(cells, 0b11);
    two = Math.min(two, Math.max(millis[0] ?? Infinity, millis[1] ?? Infinity));
  }
  startRound(cells, 0);
  await Promise.all(exits);
  return (2 * one) / two;
}

function startRound(cells: Int32Array, mask: number): number {
  const members = (mask & 1) + (mask >>> 1);
  Atomics.store(cells, RoundCell.mask, mask);
  Atomics.store(cells, RoundCell.missing, members);
  Atomics.store(cells, RoundCell.done, 0);
  Atomics.add(cells, RoundCell.round, 1);
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
