/** The end of a domain in shadow mode: roots, shadows and pool, in that order (spec 19). */
import { DomainCell } from "../../memory/domain-area.ts";
import { FrameUse } from "../../memory/frame-table.ts";
import { mfn, vcpuId } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { shadowTypeName } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const ROOTS = 4;

/** Gives up everything; adds a sentence to `leaks` for what is left over. The caller holds the lock. */
export function dropAll(shadow: Shadow, leaks: string[]): void {
  shadow.logDirty.vram.stopTracking();
  dropVcpuState(shadow);
  shadow.unshadow.blowTables();
  shadow.logDirty.discard();
  emptyPool(shadow, leaks);
}

/** A vCPU whose thread ended in order holds nothing any more; one that died is cleaned up after. */
function dropVcpuState({ memory, layout, config, references, pages, pool }: Shadow): void {
  for (let id = 0; id < config.vcpus; id++) {
    const area = vcpuArea(layout, vcpuId(id));
    for (let slot = 0; slot < ROOTS; slot++) {
      const root = memory.loadGuarded(area + VcpuCell.roots + slot);
      memory.storeGuarded(area + VcpuCell.roots + slot, 0);
      if (root !== 0) references.putShadow(mfn(root), 0);
    }
    const table = memory.loadWord(area + VcpuCell.guestTable);
    memory.storeWord(area + VcpuCell.guestTable, 0);
    if (table !== 0) pages.putReference(mfn(table));
    const monitor = memory.loadGuarded(area + VcpuCell.monitorTable);
    memory.storeGuarded(area + VcpuCell.monitorTable, 0);
    if (monitor !== 0) pool.free(mfn(monitor));
  }
}

function emptyPool({ domain, frames, layout, pool }: Shadow, leaks: string[]): void {
  for (let frame = 1; frame < layout.sizes.frames; frame++) {
    const page = mfn(frame);
    if (frames.use(page) !== FrameUse.pool || frames.type(page) === 0) continue;
    leaks.push(
      `shadow 0x${frame.toString(16)} of type ${shadowTypeName(frames.type(page))} survives with ` +
        `${String(frames.count(page))} references (backpointer 0x${frames.back(page).toString(16)})`,
    );
  }
  const total = domain.read(DomainCell.poolTotal);
  const free = domain.read(DomainCell.poolFree);
  if (total !== free) leaks.push(`the pool has ${String(total)} pages but ${String(free)} are free`);
  while (domain.read(DomainCell.poolFree) > 0) pool.giveBackOne();
}
