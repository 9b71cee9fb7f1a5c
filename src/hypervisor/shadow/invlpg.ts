/** INVLPG: most need nothing but the hardware's own (spec 10.1). Reads the tree without a lock, tolerantly. */
import { Counter } from "../../memory/counters.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { ShadowType, isFakeLeafType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";
import { mfn } from "../../memory/units.ts";

const PRESENT = 1;

/** True when the hardware's INVLPG must follow. */
export function invalidatePage(shadow: Shadow, low: number, high: number): boolean {
  const { counters, vcpu, memory, frames, fastEmulate, translations } = shadow;
  counters.add(Counter.invlpg);
  fastEmulate.forget();
  translations.forgetAll();
  let table: number;
  if (vcpu.register(VcpuCell.shadowLevels) === 4) {
    const root = memory.loadWord(vcpu.area + VcpuCell.hardwareRoot);
    const level3 = follow(shadow, root, (high >>> 7) & 511);
    table = follow(shadow, level3, ((low >>> 30) | (high << 2)) & 511);
  } else {
    const pdpte = memory.loadEntry(vcpu.area + VcpuCell.pdptes + 2 * (low >>> 30));
    table = (pdpte & PRESENT) === 0 ? 0 : shadow.frameIn(pdpte, memory.high);
  }
  if (table === 0) return mayBeUnflushed(shadow);
  const leaf = follow(shadow, table, (low >>> 21) & 511);
  if (leaf === 0) return mayBeUnflushed(shadow);
  const type = frames.type(mfn(leaf));
  if (shadow.outOfSync.isShadowOutOfSync(mfn(leaf))) return dropEntry(shadow, low, high);
  // Taken away while it was looked at: whoever did that flushes, and one more INVLPG does no harm.
  if (type === ShadowType.none) counters.add(Counter.invlpg_fault);
  if (!isFakeLeafType(type)) return true;
  // One entry of the guest stands for many of the shadow.
  vcpu.mailbox.flushLocal();
  return false;
}

/**
 * Of an out-of-sync table the one entry goes, rather than be made anew: the next access does that if there is one. False
 * when there is no leaf table any more (spec 7.8).
 */
function dropEntry(shadow: Shadow, low: number, high: number): boolean {
  const { lock, tables, entries, outOfSync } = shadow;
  lock.acquire(LockSite.invlpg);
  const hasLeaf = tables.findLeaf(low, high);
  if (hasLeaf && outOfSync.isShadowOutOfSync(mfn(tables.leafCell >>> 10)))
    entries.setLeaf(tables.leafCell, 0, 0);
  lock.release();
  return hasLeaf;
}

/**
 * Below a hole no TLB has anything, once whoever cut the branch has flushed: before the lock is released. Xen takes it that
 * it has happened; but a vCPU can come here between the cut and the flush, and then go on with its stale translation.
 */
function mayBeUnflushed({ lock }: Shadow): boolean {
  return lock.isTaken();
}

function follow(shadow: Shadow, table: number, index: number): number {
  if (table <= 0 || table >= shadow.layout.sizes.frames) return 0;
  const low = shadow.memory.loadEntry((table << 10) | (index << 1));
  return (low & PRESENT) === 0 ? 0 : shadow.frameIn(low, shadow.memory.high);
}
