/**
 * What the audit's invariants read of a machine: either all of it, at rest (`MachineView`), or what was written since the
 * last look, with vCPUs in flight (`LiveView`).
 */
import type { FrameTable } from "../memory/frame-table.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Mfn } from "../memory/units.ts";
import type { Machine } from "../hypervisor/machine.ts";

/** One shadow. */
export interface ShadowInfo {
  readonly head: Mfn;
  readonly type: number;
  readonly level: number;
  /** Guest format that it belongs to: 2, 3 or 4. */
  readonly format: number;
  /** The guest page it shadows, or the gfn of the superpage. */
  readonly back: number;
  readonly pages: readonly Mfn[];
}

/** A slot for an out-of-sync page that is in use. */
export interface OutOfSyncSlot {
  readonly vcpu: number;
  /** 0 to 2. */
  readonly position: number;
  readonly page: Mfn;
  readonly snapshot: Mfn;
  /** Cells of the leaves that are recorded to let the page be written. */
  readonly fixups: readonly number[];
}

/** One present entry of a shadow, with the guest's. */
export interface ShadowEntry {
  readonly shadow: ShadowInfo;
  readonly cell: number;
  /** Index of the guest entry that it stands for; for fl1 the page within the superpage. */
  readonly index: number;
  readonly low: number;
  readonly high: number;
  /** The frame it names. Means nothing for magic entries. */
  readonly frame: Mfn;
  /**
   * The guest entry that it stands for; of an out-of-sync table the one in its snapshot. An fl1's has none: its entries stand
   * for a present one that grants all.
   */
  readonly guestLow: number;
  readonly guestHigh: number;
}

/** One vCPU's cached translation. */
export interface TlbLine {
  readonly vcpu: number;
  readonly page: string;
  readonly frame: Mfn;
  readonly flags: number;
}

/** Entries of shadows, sorted. */
export interface EntryLists {
  /** Leaves that map a frame. */
  readonly leaves: ShadowEntry[];
  /** Upper entries that point to a table; of 2-on-3 level 2 shadows only the even slots, which own the references. */
  readonly uppers: ShadowEntry[];
  /** Magic entries, less those that rightly say "not present": they are many. */
  readonly magicEntries: ShadowEntry[];
}

/** A machine, laid out for auditing. What is "due" may be part of it or all; sums are always over all of it. */
export interface AuditView extends EntryLists {
  readonly machine: Machine;
  readonly memory: SharedMemory;
  readonly frames: FrameTable;
  /** Whether vCPUs are in flight: between any two of their accesses, but none inside the paging lock. */
  readonly isLive: boolean;
  /** Shadows to look at. */
  readonly shadows: readonly ShadowInfo[];
  /** Pages of guest memory to look at. */
  readonly guestPages: readonly Mfn[];
  /** All shadows. */
  allShadows(): Iterable<ShadowInfo>;
  /** The shadow with a head page. */
  shadowWith(head: number): ShadowInfo | undefined;
  /** Whether a frame is a page of a shadow. */
  isShadowPage(frame: number): boolean;
  /** Slots of out-of-sync pages that are in use. */
  outOfSyncSlots(): readonly OutOfSyncSlot[];
  /** Shadows of a guest page, or of the superpage at a gfn. */
  shadowsOf(back: number): readonly ShadowInfo[];
  /** Leaves that map a frame. */
  leafCount(frame: number): number;
  /** Leaves that let a frame be written. */
  writableCount(frame: number): number;
  /** Upper entries that point to a shadow. */
  parentCount(head: number): number;
  /** Control cells of every vCPU, by number. */
  vcpuAreas(): Iterable<{ readonly vcpu: number; readonly area: number }>;
  /** Valid entries of the TLBs that are in use. */
  tlbLines(): TlbLine[];
  /** Tables that paging-structure caches in use point to. */
  cachedTables(): { readonly vcpu: number; readonly table: Mfn }[];
}
