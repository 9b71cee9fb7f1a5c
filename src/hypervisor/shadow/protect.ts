/**
 * Taking write access from all memory, a part at a time, for a harvest that does not pause the domain: leaves are made
 * read-only where they stand, as KVM does it. Xen throws all shadows away instead (spec 11.6).
 */
import { Counter } from "../../memory/counters.ts";
import { HASH_BUCKETS } from "../../memory/layout.ts";
import type { Mfn } from "../../memory/units.ts";
import type { ShadowVisitor } from "./hash.ts";
import { refersToFrame } from "./shadow-entry.ts";
import { LEAF_TYPES } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const WRITABLE = 2;
const ENTRIES = 512;
/** Buckets of the hash of shadows in one hold of the lock. */
const BUCKETS_AT_ONCE = 32;

/** Write-protects leaves. Callers hold the paging lock. */
export class Protection implements ShadowVisitor {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Protects the leaves of some buckets from `position` on; the position after them, or -1 when it was the last part and every vCPU has flushed. A leaf made behind it meanwhile is writable only if its page is dirty.
   */
  protectPart(position: number): number {
    const { hash } = this.#shadow;
    const end = Math.min(position + BUCKETS_AT_ONCE, HASH_BUCKETS);
    hash.visitBuckets(position, end, LEAF_TYPES, this);
    if (end < HASH_BUCKETS) return end;
    this.#shadow.flushAll();
    return -1;
  }

  visit(shadow: Mfn): boolean {
    const { memory, frames, entries, counters } = this.#shadow;
    for (let page = shadow; page !== 0; page = frames.sibling(page)) {
      for (let slot = 0; slot < ENTRIES; slot++) {
        const cell = (page << 10) | (slot << 1);
        const low = memory.loadEntry(cell);
        if ((low & WRITABLE) === 0 || !refersToFrame(low, memory.high)) continue;
        entries.setLeaf(cell, low & ~WRITABLE, memory.high);
        counters.add(Counter.harvest_protected);
      }
    }
    return false;
  }
}
