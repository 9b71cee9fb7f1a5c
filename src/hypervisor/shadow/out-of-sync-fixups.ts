/** The records of writable mappings of out-of-sync pages: two a page, so that a resync finds them at once (spec 7.5). */
import { Counter } from "../../memory/counters.ts";
import { FrameUse } from "../../memory/frame-table.ts";
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import type { OutOfSyncSlots } from "./out-of-sync-slots.ts";
import { refersToFrame } from "./shadow-entry.ts";
import { isLeafType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const WRITABLE = 2;
const FIRST = 1;
const SECOND = 2;

/** Records leaves by their cells. Callers hold the paging lock. */
export class OutOfSyncFixups {
  readonly #shadow: Shadow;
  readonly #slots: OutOfSyncSlots;

  constructor(shadow: Shadow, slots: OutOfSyncSlots) {
    this.#shadow = shadow;
    this.#slots = slots;
  }

  /**
   * A leaf is about to let an out-of-sync page be written. The mapping that must make room is revoked without a flush: the
   * page may be written anyhow, and a resync always flushes.
   */
  record(page: Mfn, cell: number): void {
    const { memory, counters } = this.#shadow;
    const slot = this.#slots.slotOf(page);
    if (slot < 0) return;
    const fixups = this.#slots.fixups(slot);
    if (memory.loadGuarded(fixups + FIRST) === cell || memory.loadGuarded(fixups + SECOND) === cell) return;
    const next = memory.loadGuarded(fixups);
    const old = memory.loadGuarded(fixups + FIRST + next);
    if (old !== 0) {
      counters.add(Counter.oos_fixup_evict);
      this.#revoke(page, old);
    }
    memory.storeGuarded(fixups + FIRST + next, cell);
    memory.storeGuarded(fixups, next ^ 1);
    counters.add(Counter.oos_fixup_add);
  }

  /** Revokes the recorded mappings of the page in a slot and forgets them. The caller flushes. */
  revokeAll(slot: number): void {
    const { memory } = this.#shadow;
    const page = this.#slots.pageIn(slot);
    const fixups = this.#slots.fixups(slot);
    const first = memory.loadGuarded(fixups + FIRST);
    if (first !== 0) this.#revoke(page, first);
    const second = memory.loadGuarded(fixups + SECOND);
    if (second !== 0) this.#revoke(page, second);
    this.#slots.clearFixups(slot);
  }

  /** A record may be stale: its shadow may have died, and its page may serve another. Then nothing is to be done. */
  #revoke(page: Mfn, cell: number): void {
    const { memory, frames, entries, counters } = this.#shadow;
    const table = mfn(cell >>> 10);
    const low = memory.loadEntry(cell);
    const { high } = memory;
    const isLeaf = frames.use(table) === FrameUse.pool && isLeafType(frames.type(table));
    const isStale = !isLeaf || (low & WRITABLE) === 0 || !refersToFrame(low, high);
    if (isStale || this.#shadow.frameIn(low, high) !== page) {
      counters.add(Counter.writeable_h_8);
      return;
    }
    entries.setLeaf(cell, low & ~WRITABLE, high);
    counters.add(Counter.writeable_h_7);
  }
}
