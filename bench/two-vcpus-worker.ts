/** One of the two vCPUs: loads its own pages, all of them TLB hits, whenever a round includes it. */
import { hrtime } from "node:process";
import { parentPort, workerData } from "node:worker_threads";
import { Machine } from "../src/hypervisor/machine.ts";
import { Counter } from "../src/memory/counters.ts";
import { DATA, offsetIn, startVcpu } from "./guest.ts";
import { LOADS, PAGES, RoundCell } from "./two-vcpus.ts";
import type { VcpuTask } from "./two-vcpus.ts";

function run({ handle, id, root, cells, span }: VcpuTask): void {
  const { vcpu } = startVcpu(Machine.attach(handle), id, root);
  const load = (loads: number): number => {
    let sum = 0;
    for (let at = 0; at < loads; at++) {
      const page = at & (PAGES - 1);
      sum = (sum + vcpu.load((DATA + (page << 12)) | offsetIn(page), 0, 4) + vcpu.resultLow) | 0;
    }
    return sum;
  };
  let round = 0;
  for (;;) {
    Atomics.wait(cells, RoundCell.round, round);
    round = Atomics.load(cells, RoundCell.round);
    if ((round & 3) === 0) break;
    if (((round >>> id) & 1) === 0) continue;
    // The TLB may have been emptied since; what is measured begins when all who take part have touched their pages.
    load(PAGES);
    const hits = vcpu.counters.value(Counter.tlb_hits);
    Atomics.sub(cells, RoundCell.missing, 1);
    while (Atomics.load(cells, RoundCell.missing) > 0) Atomics.pause();
    // Not performance.now(): that of each thread begins at another moment.
    span[2 * id] = Number(hrtime.bigint());
    load(LOADS);
    span[2 * id + 1] = Number(hrtime.bigint());
    if (vcpu.counters.value(Counter.tlb_hits) - hits !== LOADS)
      throw new Error("not every load was a TLB hit");
    Atomics.add(cells, RoundCell.done, 1);
    Atomics.notify(cells, RoundCell.done);
  }
  vcpu.stop();
}

if (parentPort !== null) run(workerData as VcpuTask);
