/** What the shadows of an address hold, for whoever compares them: both of its last entries as they are. */
import { LockSite } from "../../locks/lock-class.ts";
import type { Shadow } from "./shadow.ts";

/** A 64-bit entry. */
export interface EntryHalves {
  readonly low: number;
  readonly high: number;
}

/** The shadow entries of levels 1 and 2 for an address, in the tree that the vCPU runs on; undefined without a leaf table. */
export function shadowLeaf(
  { tables, memory, lock }: Shadow,
  low: number,
  high: number,
): { readonly leaf: EntryHalves; readonly level2: EntryHalves } | undefined {
  lock.acquire(LockSite.audit);
  const isFound = tables.findLeaf(low, high);
  const level2 = { low: 0, high: 0 };
  const leaf = { low: 0, high: 0 };
  if (isFound) {
    if (tables.level2Cell !== 0) {
      level2.low = memory.loadEntry(tables.level2Cell);
      level2.high = memory.high;
    }
    leaf.low = memory.loadEntry(tables.leafCell);
    leaf.high = memory.high;
  }
  lock.release();
  return isFound ? { leaf, level2 } : undefined;
}
