/** The other vCPU of the flush tests: it fills its TLB and then does what its `workerData` says. */
import { parentPort, workerData } from "node:worker_threads";
import { Machine } from "../../src/hypervisor/machine.ts";
import type { MachineHandle } from "../../src/hypervisor/machine.ts";
import { vcpuId } from "../../src/memory/units.ts";

/** What the target does while it is asked for a flush. */
export interface FlushTarget {
  readonly handle: MachineHandle;
  readonly behaviour: "polls" | "halts" | "ends" | "acknowledges without flushing";
}

/** Linear address that the target has in its TLB. */
export const CACHED = 0x7000_0000;

function run({ handle, behaviour }: FlushTarget): void {
  const { vcpu } = Machine.attach(handle).createVcpu(vcpuId(1), { now: () => 0 });
  if (behaviour === "acknowledges without flushing") vcpu.tlb.flush = (): void => undefined;
  vcpu.start();
  vcpu.tlb.insert(CACHED, 0, 1, 2);
  if (behaviour === "ends") vcpu.stop();
  parentPort?.postMessage("ready");
  if (behaviour === "halts") vcpu.halt();
  else while (vcpu.poll()) if (behaviour === "ends") return;
  vcpu.stop();
}

if (parentPort !== null) run(workerData as FlushTarget);
