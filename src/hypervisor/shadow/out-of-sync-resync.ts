/** Bringing out-of-sync shadows up to date, wholly or for the moment, and which need not be (spec 7.6). */
import { Counter } from "../../memory/counters.ts";
import { MAY_WRITE, OUT_OF_SYNC } from "../../memory/frame-table.ts";
import { mfn, vcpuId } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { GuestState } from "../guest-state.ts";
import type { OutOfSyncFixups } from "./out-of-sync-fixups.ts";
import type { OutOfSyncSlots } from "./out-of-sync-slots.ts";
import type { OutOfSyncSnapshots } from "./out-of-sync-snapshots.ts";
import { Revoked } from "./revoke.ts";
import { ShadowType, formatOfType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const ENTRIES = 512;
const ROOTS = 4;
const PINNED = 1;

/** Resyncs pages in their slots. Callers hold the paging lock. */
export class OutOfSyncResync {
  readonly #shadow: Shadow;
  readonly #slots: OutOfSyncSlots;
  readonly #fixups: OutOfSyncFixups;
  readonly #snapshots: OutOfSyncSnapshots;
  /** The registers of each vCPU: a page is resynced by those of the vCPU in whose slot it is (spec 20.51). */
  readonly #guests: readonly GuestState[];

  constructor(
    shadow: Shadow,
    parts: { slots: OutOfSyncSlots; fixups: OutOfSyncFixups; snapshots: OutOfSyncSnapshots },
  ) {
    this.#shadow = shadow;
    this.#slots = parts.slots;
    this.#fixups = parts.fixups;
    this.#snapshots = parts.snapshots;
    const { memory, layout, p2m, config } = shadow;
    this.#guests = Array.from(
      { length: config.vcpus },
      (_, id) => new GuestState(memory, vcpuArea(layout, vcpuId(id)), p2m, config.paging),
    );
  }

  /**
   * Ends a page's time out of sync. Writable mappings go first, then the flush, always; only then is nothing writable made
   * any more, every entry that differs is made anew, and the page is in sync (spec 20.46, 20.47).
   */
  resync(slot: number): void {
    const { frames, revocation, unshadow, counters, freeWalk } = this.#shadow;
    const page = this.#slots.pageIn(slot);
    this.#fixups.revokeAll(slot);
    if (frames.typecount(page) !== 0 && revocation.revokeWriteAccess(page, 0, 0, 0) === Revoked.failed) {
      // Its last shadow takes it out of the slot.
      unshadow.removeShadows(page, false, true);
      return;
    }
    this.#shadow.flushAll();
    frames.setShadowFlags(page, frames.shadowFlags(page) & ~MAY_WRITE);
    this.#revalidate(slot);
    frames.setShadowFlags(page, frames.shadowFlags(page) & ~OUT_OF_SYNC);
    this.#shadow.outOfSync.markShadow(page, false);
    this.#slots.setPage(slot, 0);
    // A walk without the lock may have gone through the page while stores to it went unseen. Xen does not raise it here.
    freeWalk.noteChange();
    counters.add(Counter.resync);
  }

  /** Brings the shadow of a page up to date; the page stays out of sync. */
  resyncOnly(slot: number): void {
    this.#shadow.counters.add(Counter.resync_only);
    this.#revalidate(slot);
  }

  /**
   * Whether a shadow provably lies outside the tree that this vCPU is about to run on: it is used once, and the one way up
   * ends at a root that is none of this vCPU's. Never known of 2-on-3 shadows, as in Xen.
   */
  isOutsideTree(leaf: Mfn): boolean {
    const { memory, frames, vcpu } = this.#shadow;
    const type = frames.type(leaf);
    if (type !== ShadowType.l1_pae && type !== ShadowType.l1_64) return false;
    let table = leaf;
    const levels = type === ShadowType.l1_64 ? 3 : 1;
    for (let level = 0; level < levels; level++) {
      const up = frames.up(table);
      if (up === 0 || frames.count(table) !== 1 || (frames.state(table) & PINNED) !== 0) return false;
      table = mfn(up >>> 10);
    }
    for (let root = 0; root < ROOTS; root++)
      if (memory.loadGuarded(vcpu.area + VcpuCell.roots + root) === table) return false;
    return true;
  }

  /** Makes every present shadow entry anew whose guest entry is not the one that it was made from. */
  #revalidate(slot: number): void {
    const { memory, frames, propagation, guest } = this.#shadow;
    const page = this.#slots.pageIn(slot);
    const shadow = this.#shadow.outOfSync.shadowOf(page);
    if (shadow === 0) return;
    const format = formatOfType(frames.type(shadow));
    propagation.guest = this.#guests[this.#slots.ownerOf(slot)] ?? guest;
    let index = 0;
    for (let table = shadow; table !== 0; table = frames.sibling(table))
      for (let entry = 0; entry < ENTRIES; entry++, index++) {
        const cell = (table << 10) | (entry << 1);
        if ((memory.loadEntry(cell) & PRESENT) !== 0) this.#renew(slot, cell, index, format);
      }
    propagation.guest = guest;
  }

  #renew(slot: number, cell: number, index: number, format: number): void {
    const { tables, validation, entries, propagation } = this.#shadow;
    const page = this.#slots.pageIn(slot);
    tables.readGuest(this.#slots.snapshotOf(slot), index, format);
    const oldLow = tables.guestLow;
    const oldHigh = tables.guestHigh;
    tables.readGuest(page, index, format);
    if (tables.guestLow === oldLow && tables.guestHigh === oldHigh) return;
    // The guest may go on writing: what is made, and noted, is one value.
    validation.propagateLeafEntry(page, index, format);
    const { guestLow, guestHigh } = tables;
    entries.setLeaf(cell, propagation.low, propagation.high);
    this.#snapshots.store(slot, index, format, guestLow, guestHigh);
  }
}
