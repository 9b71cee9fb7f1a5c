/**
 * An optional paging-structure cache (SDM vol. 3, 4.10.3): remembers, for a 2 MiB region, the leaf table and the rights
 * that the levels above it grant, so that a walk can begin at level 1. Like the TLB it is stale until flushed, which is
 * why a shadow page may not be used again while some vCPU could still hold a pointer to it (spec 3.8).
 */
import { TLB_ENTRY_WORDS } from "../memory/layout.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { mfn } from "../memory/units.ts";
import type { Mfn, VcpuId } from "../memory/units.ts";

const VALID = 1;

/** One vCPU's paging-structure cache, direct-mapped. With 0 entries it is off and never hits. */
export class StructureCache {
  /** After a hit: rights that the upper levels grant (writable 2, user 4, executable 16). */
  rights = 0;
  readonly #memory: SharedMemory;
  readonly #base: number;
  readonly #entries: number;

  constructor(memory: SharedMemory, layout: Layout, vcpu: VcpuId) {
    this.#memory = memory;
    this.#entries = layout.sizes.structureCacheEntries;
    this.#base = layout.regions.structureCaches.offset + vcpu * this.#entries * TLB_ENTRY_WORDS;
  }

  /** The leaf table for an address, or -1; `rights` says what the levels above grant. */
  find(low: number, high: number): number {
    if (this.#entries === 0) return -1;
    const tag = (low >>> 21) | (high << 11);
    const entry = this.#base + ((tag >>> 0) % this.#entries) * TLB_ENTRY_WORDS;
    const flags = this.#memory.loadPrivate(entry + 1);
    if ((flags & VALID) === 0 || this.#memory.loadPrivate(entry) !== tag) return -1;
    this.rights = flags & ~VALID;
    return this.#memory.loadPrivate(entry + 2);
  }

  /** Remembers the leaf table of an address. */
  insert(low: number, high: number, table: number, rights: number): void {
    if (this.#entries === 0) return;
    const tag = (low >>> 21) | (high << 11);
    const entry = this.#base + ((tag >>> 0) % this.#entries) * TLB_ENTRY_WORDS;
    this.#memory.storePrivate(entry, tag);
    this.#memory.storePrivate(entry + 1, rights | VALID);
    this.#memory.storePrivate(entry + 2, table);
  }

  /** Forgets everything: INVLPG of any page does this too (SDM vol. 3, 4.10.4.1). */
  flush(): void {
    for (let at = 0; at < this.#entries * TLB_ENTRY_WORDS; at++)
      this.#memory.storePrivate(this.#base + at, 0);
  }

  /** Calls back for every valid entry with the table it points to. For audits of a parked vCPU. */
  forEach(visit: (table: Mfn) => void): void {
    for (let index = 0; index < this.#entries; index++) {
      const entry = this.#base + index * TLB_ENTRY_WORDS;
      if ((this.#memory.loadPrivate(entry + 1) & VALID) !== 0)
        visit(mfn(this.#memory.loadPrivate(entry + 2)));
    }
  }
}
