/** From a guest entry to the shadow entry that may stand for it: the one rule list of the design (spec 4.8). */
import { MAXPHYADDR } from "../../machine/entry.ts";
import { NO_MFN } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { Counter } from "../../memory/counters.ts";
import { DomainCell, PageSizeMeaning } from "../../memory/domain-area.ts";
import { NOT_PRESENT_MAGIC, mmioMagicHigh, mmioMagicLow } from "./shadow-entry.ts";
import type { GuestState } from "../guest-state.ts";
import { P2mType, isReadOnlyEntry, mappedInP2mEntry, ramInP2mEntry, typeInP2mEntry } from "../p2m-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 32;
const DIRTY = 64;
const PAGE_SIZE = 128;
const NO_EXECUTE = 1 << 31;
const COPIED = PRESENT | WRITABLE | USER | ACCESSED;
/** Address bits of the high half that no guest frame has. */
const BEYOND_PHYSICAL = 0x000f_ffff & ~((1 << (MAXPHYADDR - 32)) - 1);

/**
 * Why a leaf is propagated: ahead of any access, or because a vCPU reads or writes there. Only a write that is about to
 * happen makes a page dirty (spec 4.8, 11.7).
 */
export const Fetch = { prefetch: 0, demandRead: 1, demandWrite: 2 } as const;

const DEMAND_WRITE = Fetch.demandWrite;
const EMULATED = P2mType.mmioDm;
const DIRECT = P2mType.mmioDirect;
const DIRECT_MMIO_MAPPED = Counter.direct_mmio_mapped;

/** Computes shadow entries; the answer is in `low` and `high`. Callers hold the paging lock. */
export class Propagation {
  low = 0;
  high = 0;
  /** Whose registers count: this vCPU's own, or while a page is resynced those of the vCPU that put it out of sync. */
  guest: GuestState;
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
    this.guest = shadow.guest;
  }

  /**
   * A leaf: `entry` is what the p2m says of the guest entry's gfn: emulated MMIO gets a magic entry, a page that has to be
   * brought back first nothing, read-only memory no W (rules 4 to 6 and 13). The guest entry has no reserved bits, or is not
   * present. Only the leaf that a write demands may let an out-of-sync page be
   * written: who makes others could not tell where they are.
   */
  leaf(guestLow: number, guestHigh: number, entry: number, gfn: number, format: number, fetch: number): void {
    if ((guestHigh & BEYOND_PHYSICAL) !== 0) {
      this.#set(0, 0);
      return;
    }
    const { switches, pages, outOfSync, vram, counters } = this.#shadow;
    const fast = switches["fast-fault-path"];
    if ((guestLow & PRESENT) === 0) {
      // An out-of-sync table's entry may have become present since: nobody may answer without a lock that it is not.
      const value = fast && !outOfSync.isOn ? NOT_PRESENT_MAGIC : 0;
      this.#set(value, value);
      return;
    }
    const target = mappedInP2mEntry(entry);
    if (target === NO_MFN) {
      if (entry === EMULATED) this.#mmio(guestLow, gfn, fast);
      else this.#set(0, 0);
      return;
    }
    if (typeInP2mEntry(entry) === DIRECT) counters.add(DIRECT_MMIO_MAPPED);
    let flags = this.#copiedFlags(guestLow);
    if ((guestLow & DIRTY) === 0 || isReadOnlyEntry(entry)) flags &= ~WRITABLE;
    if (vram.isOn() && vram.refusesWrites(gfn, fetch === DEMAND_WRITE)) flags &= ~WRITABLE;
    const isWritten = fetch === DEMAND_WRITE && outOfSync.mayWrite(target);
    if (pages.isPagetable(target) && !isWritten) flags &= ~WRITABLE;
    if (fetch === DEMAND_WRITE || (flags & WRITABLE) !== 0) flags = this.#logged(flags, entry, gfn, fetch);
    this.#set((target << 12) | flags, (target >>> 20) | this.#noExecute(guestHigh, format));
  }

  /**
   * An upper entry: `child` is the shadow of what the guest entry names, 0 when there is none. `isLarge` says that PS
   * is honoured, so that the restriction of a clean page lies in this entry. A and D are set: through a linear map any
   * table can serve as a leaf table, and hardware must not need to set them.
   */
  upper(guestLow: number, guestHigh: number, child: Mfn, format: number, isLarge: boolean): void {
    if ((guestLow & PRESENT) === 0 || child <= 0 || (guestHigh & BEYOND_PHYSICAL) !== 0) {
      this.#set(0, 0);
      return;
    }
    let flags = this.#copiedFlags(guestLow) | ACCESSED | DIRTY;
    if (isLarge && (guestLow & DIRTY) === 0) flags &= ~WRITABLE;
    this.#set((child << 12) | flags, (child >>> 20) | this.#noExecute(guestHigh, format));
  }

  /** Whether PS of a level 2 entry is honoured by the guests whose tables have the format. */
  honoursPageSize(guestLow: number, format: number): boolean {
    if ((guestLow & PAGE_SIZE) === 0) return false;
    return format !== 2 || this.#shadow.domain.read(DomainCell.pageSizeMeaning) !== PageSizeMeaning.ignored;
  }

  /** Rule 10: an entry whose A is clear keeps its frame but not its P bit. */
  #copiedFlags(guestLow: number): number {
    const flags = guestLow & COPIED;
    return (guestLow & ACCESSED) === 0 ? flags & ~PRESENT : flags;
  }

  /** Rule 15: while writes are logged, only a dirty page is mapped for writing, and a write makes it so. */
  #logged(flags: number, entry: number, gfn: number, fetch: number): number {
    const { logDirty } = this.#shadow;
    if (!logDirty.isOn() || ramInP2mEntry(entry) === NO_MFN) return flags;
    if (fetch === DEMAND_WRITE && !isReadOnlyEntry(entry)) {
      logDirty.markPage(gfn);
      return flags;
    }
    return logDirty.isDirty(gfn) ? flags : flags & ~WRITABLE;
  }

  #noExecute(guestHigh: number, format: number): number {
    return format !== 2 && this.guest.hasNoExecute() ? guestHigh & NO_EXECUTE : 0;
  }

  /**
   * Emulated MMIO. Xen makes the magic entry whatever A and D say; here, as for memory, an entry that has yet to get A
   * stays absent and one that has yet to get D grants no write, so that the guest's bits come out as hardware sets them.
   */
  #mmio(guestLow: number, gfn: number, fast: boolean): void {
    if (!fast || (guestLow & ACCESSED) === 0) {
      this.#set(0, 0);
      return;
    }
    const rights = (guestLow & DIRTY) === 0 ? guestLow & USER : guestLow & (WRITABLE | USER);
    this.#shadow.domain.noteFastMmioEntry();
    this.#set(mmioMagicLow(gfn, rights), mmioMagicHigh(gfn));
  }

  #set(low: number, high: number): void {
    this.low = low;
    this.high = high;
  }
}
