/** The last operations of each vCPU in words, for a run that found something. */
import type { Machine } from "../../hypervisor/machine.ts";
import { Operation, OTHER_OPERATION } from "../../machine/exits.ts";
import { recentOperations } from "../../memory/recent-operations.ts";
import type { NotedOperation } from "../../memory/recent-operations.ts";
import { Doing } from "../../memory/vcpu-area.ts";
import type { RecentRow } from "../../report/types.ts";

/** A row for each vCPU, its last operation last. */
export function recentRows({ memory, layout }: Machine): RecentRow[] {
  return Array.from({ length: layout.sizes.vcpus }, (_, vcpu) => ({
    vcpu,
    operations: recentOperations(memory, layout, vcpu).map((each) => described(each)),
  }));
}

function described({ what, low, high }: NotedOperation): string {
  if ((what & OTHER_OPERATION) !== 0) return nameIn(Doing, what & ~OTHER_OPERATION);
  const address = ((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16);
  return `${nameIn(Operation, what & 15)} of ${String(what >> 4)} at 0x${address}`;
}

function nameIn(names: Readonly<Record<string, number>>, value: number): string {
  return Object.entries(names).find(([, each]) => each === value)?.[0] ?? String(value);
}
