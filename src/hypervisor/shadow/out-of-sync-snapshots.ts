/**
 * Snapshots of out-of-sync pages (spec 7.2): of each guest entry that has a shadow entry, the value that it was made from.
 * Resync compares the guest with these, never with the shadow (spec 20.48).
 */
import type { Mfn } from "../../memory/units.ts";
import { SLOTS } from "./out-of-sync-slots.ts";
import type { OutOfSyncSlots } from "./out-of-sync-slots.ts";
import { ShadowType, formatOfType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const ENTRIES = 512;

/** Keeps snapshots. Callers hold the paging lock. */
export class OutOfSyncSnapshots {
  readonly #shadow: Shadow;
  readonly #slots: OutOfSyncSlots;

  constructor(shadow: Shadow, slots: OutOfSyncSlots) {
    this.#shadow = shadow;
    this.#slots = slots;
  }

  /** Takes this vCPU's snapshots from the pool, if it has none yet. False when the domain died for want of pages. */
  allocate(): boolean {
    const { pool, vcpu } = this.#shadow;
    const first = vcpu.id * SLOTS;
    if (this.#slots.snapshotOf(first) !== 0) return true;
    if (!pool.prealloc(ShadowType.oos_snapshot, SLOTS)) return false;
    for (let slot = first; slot < first + SLOTS; slot++)
      this.#slots.setSnapshot(slot, pool.alloc(ShadowType.oos_snapshot, 1, 0));
    return true;
  }

  /** Gives this vCPU's snapshots back. Its slots are empty. */
  giveBack(): void {
    const { pool, vcpu } = this.#shadow;
    const first = vcpu.id * SLOTS;
    for (let slot = first; slot < first + SLOTS; slot++) {
      const snapshot = this.#slots.snapshotOf(slot);
      this.#slots.setSnapshot(slot, 0);
      if (snapshot !== 0) pool.free(snapshot);
    }
  }

  /** Copies the guest's entries that have a shadow entry: the page is in sync still, and nobody can write it. */
  takeCopy(slot: number, shadow: Mfn): void {
    const { memory, frames, tables } = this.#shadow;
    const format = formatOfType(frames.type(shadow));
    const page = frames.back(shadow);
    let index = 0;
    for (let table = shadow; table !== 0; table = frames.sibling(table)) {
      for (let entry = 0; entry < ENTRIES; entry++, index++) {
        if ((memory.loadEntry((table << 10) | (entry << 1)) & PRESENT) === 0) continue;
        tables.readGuest(page, index, format);
        this.store(slot, index, format, tables.guestLow, tables.guestHigh);
      }
    }
  }

  /** If a page is out of sync: the shadow of its entry `index` has just been made from a value. */
  noteMade(page: Mfn, index: number, format: number, low: number, high: number): void {
    const slot = this.#slots.slotOf(page);
    if (slot >= 0) this.store(slot, index, format, low, high);
  }

  /** Sets an entry of a slot's snapshot. */
  store(slot: number, index: number, format: number, low: number, high: number): void {
    const { memory } = this.#shadow;
    const snapshot = this.#slots.snapshotOf(slot);
    if (format === 2) memory.storeWord((snapshot << 10) | index, low);
    else memory.storeEntry((snapshot << 10) | (index << 1), low, high);
  }
}
