/** Building the chain of shadows from the root to the leaf entry of a walked address (spec 4.7). */
import { frameOfEntry } from "../../machine/entry.ts";
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { SetResult } from "./set-entry.ts";
import { ShadowType, fakeLeafTypeOf, leafTypeOf, superpagePages } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const WRITABLE = 2;

/** Gets or creates the shadows of the walk in `guest.walker`. Callers hold the paging lock. */
export class ShadowChain {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** Cell of the leaf shadow entry for the walked address; 0 when a root is missing or the domain is dying. */
  leafCell(isWrite: boolean): number {
    const { outOfSync } = this.#shadow;
    outOfSync.beginChain();
    const cell = this.#build(isWrite);
    outOfSync.endChain();
    return cell;
  }

  #build(isWrite: boolean): number {
    const { vcpu, guest, memory } = this.#shadow;
    const { faultLow: low, faultHigh: high } = vcpu;
    const format = guest.format();
    const roots = vcpu.area + VcpuCell.roots;
    if (format === 4) {
      const root = mfn(memory.loadGuarded(roots));
      if (root === 0) return 0;
      const level3 = this.#child(root, ShadowType.l4_64, (high >>> 7) & 511, 4, ShadowType.l3_64);
      if (level3 === 0) return 0;
      const index3 = ((low >>> 30) | (high << 2)) & 511;
      const level2 = this.#child(level3, ShadowType.l3_64, index3, 3, ShadowType.l2_64);
      if (level2 === 0) return 0;
      return this.#leafIn(level2, ShadowType.l2_64, (low >>> 21) & 511, format, isWrite);
    }
    if (format === 3) {
      const level2 = mfn(memory.loadGuarded(roots + (low >>> 30)));
      return level2 === 0 ? 0 : this.#leafIn(level2, ShadowType.l2_pae, (low >>> 21) & 511, format, isWrite);
    }
    const root = mfn(memory.loadGuarded(roots));
    return root === 0 ? 0 : this.#leafIn(root, ShadowType.l2_32, low >>> 22, format, isWrite);
  }

  /** The shadow that entry `index` of a 4-level upper shadow points to, made and linked if need be; 0 on failure. */
  #child(parent: Mfn, type: number, index: number, level: number, childType: number): Mfn {
    const { memory, guest, hash, destruction, propagation, outOfSync } = this.#shadow;
    const cell = (parent << 10) | (index << 1);
    const present = memory.loadEntry(cell);
    if ((present & PRESENT) !== 0) return this.#shadow.frameIn(present, memory.high);
    const { walker } = guest;
    const table = walker.tableMfn[level - 1] ?? -1;
    if (table < 0) return mfn(0);
    let child = hash.lookup(table, childType);
    if (child === 0) child = destruction.make(table, childType);
    propagation.upper(walker.entryLow[level] ?? 0, walker.entryHigh[level] ?? 0, child, 4, false);
    const linked = this.#link(cell, child, type);
    if (linked !== 0) outOfSync.linkedUpper();
    return linked;
  }

  /** The leaf entry below entry `index` of a level 2 shadow. */
  #leafIn(level2: Mfn, type: number, index: number, format: number, isWrite: boolean): number {
    const { memory, guest, tables, vcpu, frames } = this.#shadow;
    const cell = tables.cellOf(level2, type, index);
    const low = memory.loadEntry(cell);
    const high = memory.high;
    const isLarge = guest.walker.leafLevel === 2;
    const leafType = isLarge ? fakeLeafTypeOf(format) : leafTypeOf(format);
    let leaf = mfn(0);
    if ((low & PRESENT) !== 0 && !(isWrite && isLarge && (low & WRITABLE) === 0))
      leaf = this.#shadow.frameIn(low, high);
    // Of another type it was linked by a vCPU with another CR4.PSE: what this one fills in must not go there.
    if (leaf === 0 || frames.type(leaf) !== leafType) leaf = this.#makeLeaf(cell, type, format, isLarge);
    if (leaf === 0) return 0;
    const leafIndex = (vcpu.faultLow >>> 12) & (format === 2 ? 1023 : 511);
    return tables.cellOf(leaf, leafType, leafIndex);
  }

  #makeLeaf(cell: number, type: number, format: number, isLarge: boolean): Mfn {
    const { guest, hash, destruction, propagation } = this.#shadow;
    const { walker } = guest;
    const entryLow = walker.entryLow[2] ?? 0;
    const entryHigh = walker.entryHigh[2] ?? 0;
    const leafType = isLarge ? fakeLeafTypeOf(format) : leafTypeOf(format);
    const frame = isLarge
      ? frameOfEntry(entryLow, entryHigh) & -superpagePages(format)
      : (walker.tableMfn[1] ?? -1);
    if (frame < 0) return mfn(0);
    let leaf = hash.lookup(frame, leafType);
    if (leaf === 0) leaf = destruction.make(frame, leafType);
    propagation.upper(entryLow, entryHigh, leaf, format, isLarge);
    return this.#link(cell, leaf, type);
  }

  #link(cell: number, child: Mfn, type: number): Mfn {
    const { entries, propagation } = this.#shadow;
    // Linking an out-of-sync table resyncs it, and that propagates too.
    const { low } = propagation;
    const result = entries.setUpper(cell, low, propagation.high, type);
    if ((result & SetResult.error) !== 0) return mfn(0);
    if ((result & SetResult.flush) !== 0) this.#shadow.flushAll();
    return (low & PRESENT) === 0 ? mfn(0) : child;
  }
}
