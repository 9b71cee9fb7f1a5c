/** The slots of out-of-sync pages, read as plain memory. */
import type { Machine } from "../hypervisor/machine.ts";
import { FIXUP_WORDS, SLOTS } from "../hypervisor/shadow/out-of-sync-slots.ts";
import { mfn, vcpuId } from "../memory/units.ts";
import { VcpuCell, vcpuArea } from "../memory/vcpu-area.ts";
import type { OutOfSyncSlot } from "./audit-view.ts";

/** Slots that are in use. */
export function slotsInUse({ memory, layout, config }: Machine): OutOfSyncSlot[] {
  const found: OutOfSyncSlot[] = [];
  if (!config.switches["out-of-sync"]) return found;
  const { view } = memory;
  for (let vcpu = 0; vcpu < config.vcpus; vcpu++) {
    const area = vcpuArea(layout, vcpuId(vcpu));
    for (let position = 0; position < SLOTS; position++) {
      const page = mfn(view[area + VcpuCell.outOfSync + position] ?? 0);
      if (page === 0) continue;
      const snapshot = mfn(view[area + VcpuCell.snapshots + position] ?? 0);
      const first = area + VcpuCell.fixups + position * FIXUP_WORDS;
      const fixups = [view[first + 1] ?? 0, view[first + 2] ?? 0].filter((cell) => cell !== 0);
      found.push({ vcpu, position, page, snapshot, fixups });
    }
  }
  return found;
}
