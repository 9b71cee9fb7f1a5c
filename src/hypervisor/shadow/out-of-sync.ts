/**
 * Out-of-sync shadows (spec 7): a page that is only a level 1 table may be written freely, and its shadow is brought up to
 * date when the guest does what flushes a TLB. The rules: only pages with one shadow, of level 1, may be out of sync; who
 * is handed a guest page and will touch its shadow resyncs it first, but for faults and INVLPG, which repair one entry; who
 * comes by a shadow must expect it to be out of sync; who reads without the lock takes the locked way instead.
 * docs/out-of-sync.md has the events.
 */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import {
  MAY_WRITE,
  OUT_OF_SYNC,
  SHADOWED,
  SHADOW_OUT_OF_SYNC,
  SHADOW_TYPES,
} from "../../memory/frame-table.ts";
import { mfn, vcpuId } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { OutOfSyncFixups } from "./out-of-sync-fixups.ts";
import { OutOfSyncResync } from "./out-of-sync-resync.ts";
import { OutOfSyncSlots, SLOTS } from "./out-of-sync-slots.ts";
import { OutOfSyncSnapshots } from "./out-of-sync-snapshots.ts";
import { LEAF_TYPES, ShadowType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const ACTIVE = DomainCell.outOfSyncActive;

/** Decides which pages are out of sync. Callers hold the paging lock unless said. */
export class OutOfSync {
  /** Whether pages may go out of sync at all. */
  readonly isOn: boolean;
  readonly slots: OutOfSyncSlots;
  readonly fixups: OutOfSyncFixups;
  readonly snapshots: OutOfSyncSnapshots;
  readonly resyncing: OutOfSyncResync;
  readonly #shadow: Shadow;
  readonly #after: number;
  #hasLinkedUpper = false;
  /** The leaf table that refused this vCPU's last access, until it is written; 0 for none. */
  #refusedIn = 0;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
    this.isOn = shadow.switches["out-of-sync"];
    this.#after = shadow.config.outOfSyncAfter;
    this.slots = new OutOfSyncSlots(shadow);
    this.fixups = new OutOfSyncFixups(shadow, this.slots);
    this.snapshots = new OutOfSyncSnapshots(shadow, this.slots);
    const { slots, fixups, snapshots } = this;
    this.resyncing = new OutOfSyncResync(shadow, { slots, fixups, snapshots });
  }

  /** Whether the shadow of a page may differ from it. */
  isOutOfSync(page: Mfn): boolean {
    return this.isOn && (this.#shadow.frames.shadowFlags(page) & OUT_OF_SYNC) !== 0;
  }

  /** Whether writable mappings of a page may exist although it is shadowed. */
  mayWrite(page: Mfn): boolean {
    return this.isOn && (this.#shadow.frames.shadowFlags(page) & MAY_WRITE) !== 0;
  }

  /** Without the lock too: whether a page of a shadow is that of an out-of-sync page. */
  isShadowOutOfSync(table: Mfn): boolean {
    return this.isOn && (this.#shadow.frames.state(table) & SHADOW_OUT_OF_SYNC) !== 0;
  }

  /** The one level 1 shadow of a page, 0 when it has none. */
  shadowOf(page: Mfn): Mfn {
    const { frames, hash } = this.#shadow;
    const types = frames.shadowFlags(page) & SHADOW_TYPES & LEAF_TYPES;
    return types === 0 ? mfn(0) : hash.lookup(page, 31 - Math.clz32(types));
  }

  /** A write fault goes to a pagetable: whether the page may be written from now on (spec 7.3). */
  unsync(page: Mfn): boolean {
    const { frames, counters, vcpu, fastEmulate } = this.#shadow;
    if (!this.isOn) return false;
    this.#beginCount(page);
    if (!this.#isDue(page)) return false;
    frames.setWrites(page, 0);
    fastEmulate.forgetEverywhere();
    counters.add(Counter.unsync);
    const slot = this.#takeSlot(vcpu.id, page);
    this.slots.setPage(slot, page);
    this.snapshots.takeCopy(slot, this.shadowOf(page));
    frames.setShadowFlags(page, frames.shadowFlags(page) | OUT_OF_SYNC | MAY_WRITE);
    this.markShadow(page, true);
    return true;
  }

  /** Whether a store to a page need not be emulated, or the next one need not. */
  isNextFree(page: Mfn): boolean {
    return this.isOn && (this.isOutOfSync(page) || this.#isDue(page));
  }

  /** A store was emulated; if it went to a pagetable it counts. */
  noteWrite(page: Mfn): void {
    const { frames } = this.#shadow;
    if (!this.isOn || (frames.shadowFlags(page) & SHADOWED) === 0) return;
    this.#beginCount(page);
    frames.setWrites(page, frames.writes(page) + 1);
  }

  /**
   * Without the lock too: the guest's own tables refused an access. If it was a leaf entry that did, the kernel is about to
   * write there: demand paging, one store for each such fault.
   */
  noteRefusal(): void {
    const { walker } = this.#shadow.guest;
    if (this.isOn && walker.stopLevel === 1) this.#refusedIn = walker.tableMfn[1] ?? 0;
  }

  /** A fault was fixed through a table, so that what is written there is used at once; or it is no table any more. */
  countAnew(page: Mfn): void {
    const { frames } = this.#shadow;
    if (this.isOn && frames.writes(page) !== 0) frames.setWrites(page, 0);
  }

  /** Says on the pages of a page's shadow whether it is out of sync, for those who read without the lock. */
  markShadow(page: Mfn, isOutOfSync: boolean): void {
    const { frames } = this.#shadow;
    for (let table = this.shadowOf(page); table !== 0; table = frames.sibling(table)) {
      const state = frames.state(table) & ~SHADOW_OUT_OF_SYNC;
      frames.setState(table, isOutOfSync ? state | SHADOW_OUT_OF_SYNC : state);
    }
  }

  /** The last shadow of a page has died: it leaves its slot, and may be written as any page. */
  forget(page: Mfn): void {
    const slot = this.slots.slotOf(page);
    if (slot < 0) return;
    this.slots.setPage(slot, 0);
    this.slots.clearFixups(slot);
  }

  /** Resyncs a page, if it is out of sync. Whether it was. */
  resyncPage(page: Mfn): boolean {
    if (!this.isOutOfSync(page)) return false;
    const slot = this.slots.slotOf(page);
    if (slot >= 0) this.resyncing.resync(slot);
    return true;
  }

  /** Resyncs the pages in this vCPU's slots: it is about to change its tree (spec 9.2). */
  resyncOwn(): void {
    if (!this.isOn) return;
    const first = this.#shadow.vcpu.id * SLOTS;
    for (let slot = first; slot < first + SLOTS; slot++)
      if (this.slots.pageIn(slot) !== 0) this.resyncing.resync(slot);
  }

  /** Resyncs every page. */
  resyncAll(): void {
    if (!this.isOn) return;
    for (let slot = 0; slot < this.slots.total; slot++)
      if (this.slots.pageIn(slot) !== 0) this.resyncing.resync(slot);
  }

  /** This vCPU has flushed its TLB: what others have out of sync and it may use is brought up to date. */
  followFlush(): void {
    if (!this.isOn) return;
    for (let slot = 0; slot < this.slots.total; slot++) {
      const page = this.slots.pageIn(slot);
      if (page !== 0 && !this.resyncing.isOutsideTree(this.shadowOf(page))) this.resyncing.resyncOnly(slot);
    }
  }

  /** A fault begins to build its chain of shadows. */
  beginChain(): void {
    this.#hasLinkedUpper = false;
  }

  /**
   * The chain got a new level 2 or 3 shadow below level 3 or 4: a path that the guest need not flush for. The resync that
   * this asks for waits for the end of the chain: now it could make a table writable that is about to become one (M12).
   */
  linkedUpper(): void {
    this.#hasLinkedUpper = true;
  }

  /** The chain is complete, and every table of the walk is known as a pagetable. */
  endChain(): void {
    if (this.#hasLinkedUpper) this.resyncAll();
  }

  /** Whether a page may go out of sync, and the next store is the one that the policy waits for. */
  #isDue(page: Mfn): boolean {
    const { frames, domain } = this.#shadow;
    const flags = frames.shadowFlags(page);
    if (domain.read(ACTIVE) === 0 || (flags & (SHADOWED | OUT_OF_SYNC)) !== SHADOWED) return false;
    const types = flags & SHADOW_TYPES;
    if ((types & ~LEAF_TYPES) !== 0 || (types & (types - 1)) !== 0) return false;
    return frames.writes(page) + 1 >= this.#after;
  }

  /** A store that answers a refused access begins a new count. */
  #beginCount(page: Mfn): void {
    if (this.#refusedIn !== page) return;
    this.#refusedIn = 0;
    this.countAnew(page);
  }

  /** Whether every vCPU has paging on, so that pages may go out of sync. */
  reconsider(): void {
    if (!this.isOn) return;
    const { config, memory, layout, domain } = this.#shadow;
    let active = 1;
    for (let id = 0; id < config.vcpus; id++)
      if (memory.loadWord(vcpuArea(layout, vcpuId(id)) + VcpuCell.pagingOn) === 0) active = 0;
    domain.write(ACTIVE, active);
  }

  /** An empty slot for a page: its home, whose owner moves on if it is at home there; or the next (spec 7.4). */
  #takeSlot(vcpu: number, page: Mfn): number {
    const home = this.slots.home(vcpu, page);
    const occupant = this.slots.pageIn(home);
    if (occupant === 0) return home;
    if (this.slots.home(vcpu, occupant) !== home) {
      this.#evict(home);
      return home;
    }
    const alternate = this.slots.alternate(vcpu, occupant);
    if (this.slots.pageIn(alternate) !== 0) this.#evict(alternate);
    if (this.slots.pageIn(home) !== 0) this.slots.move(home, alternate);
    return home;
  }

  #evict(slot: number): void {
    this.#shadow.counters.add(Counter.unsync_evict);
    this.resyncing.resync(slot);
  }
}

/** Whether entries of a type point to level 1 shadows. */
export function pointsToLeaves(type: number): boolean {
  return type === ShadowType.l2_32 || type === ShadowType.l2_pae || type === ShadowType.l2_64;
}
