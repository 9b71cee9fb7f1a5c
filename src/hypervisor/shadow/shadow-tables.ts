/** Finding entries: where a guest index lies in a shadow, and what the current tree says about an address. */
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { isMagic } from "./shadow-entry.ts";
import { ShadowType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;

/** Reads shadow and guest tables. */
export class ShadowTables {
  /** After `findLeaf`: cell of the level 2 shadow entry (the slot hardware uses), 0 when an upper level is absent. */
  level2Cell = 0;
  /** After `findLeaf`: cell of the leaf shadow entry, 0 when there is no leaf table. */
  leafCell = 0;
  /** After `readGuest`: the guest entry. */
  guestLow = 0;
  guestHigh = 0;
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** The page of a shadow that holds a guest index, and the entry's cell in it (spec 1.5). */
  cellOf(shadow: Mfn, type: number, index: number): number {
    if (type === ShadowType.l1_32 || type === ShadowType.fl1_32)
      return (this.pageOf(shadow, index >>> 9) << 10) | ((index & 511) << 1);
    if (type === ShadowType.l2_32) return (this.pageOf(shadow, index >>> 8) << 10) | ((index & 255) << 2);
    return (shadow << 10) | (index << 1);
  }

  /** The n-th page of a shadow of several. */
  pageOf(shadow: Mfn, position: number): Mfn {
    let page = shadow;
    for (let left = position; left > 0; left--) page = this.#shadow.frames.sibling(page);
    return page;
  }

  /** Reads entry `index` of a guest table in a machine frame, in one access. */
  readGuest(table: number, index: number, format: number): void {
    const { memory } = this.#shadow;
    if (format === 2) {
      this.guestLow = memory.loadWord((table << 10) | index);
      this.guestHigh = 0;
    } else {
      this.guestLow = memory.loadEntry((table << 10) | (index << 1));
      this.guestHigh = memory.high;
    }
  }

  /** Looks an address up in this vCPU's current shadow tree. True when a leaf table exists. Needs the paging lock. */
  findLeaf(low: number, high: number): boolean {
    this.level2Cell = 0;
    this.leafCell = 0;
    const level2 = this.#findLevel2(low, high);
    if (level2 === 0) return false;
    this.level2Cell = (level2 << 10) | (((low >>> 21) & 511) << 1);
    const leaf = this.#follow(this.level2Cell);
    if (leaf === 0) return false;
    this.leafCell = (leaf << 10) | (((low >>> 12) & 511) << 1);
    return true;
  }

  #findLevel2(low: number, high: number): number {
    const { memory, vcpu, frames } = this.#shadow;
    const roots = vcpu.area + VcpuCell.roots;
    const levels = vcpu.register(VcpuCell.shadowLevels);
    if (levels === 4) {
      const root = memory.loadGuarded(roots);
      if (root === 0) return 0;
      const level3 = this.#follow((root << 10) | (((high >>> 7) & 511) << 1));
      if (level3 === 0) return 0;
      return this.#follow((level3 << 10) | ((((low >>> 30) | (high << 2)) & 511) << 1));
    }
    const first = memory.loadGuarded(roots);
    if (first !== 0 && frames.type(mfn(first)) === ShadowType.l2_32)
      return this.pageOf(mfn(first), low >>> 30);
    return memory.loadGuarded(roots + (low >>> 30));
  }

  /** The frame that an entry points to, 0 when it is absent. */
  #follow(cell: number): number {
    const low = this.#shadow.memory.loadEntry(cell);
    const { high } = this.#shadow.memory;
    if ((low & PRESENT) === 0 || isMagic(low, high)) return 0;
    return this.#shadow.frameIn(low, high);
  }
}
