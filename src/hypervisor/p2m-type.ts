/**
 * Entries of the p2m and the types in them (spec 12.5): what a guest frame number stands for, and so what becomes of an
 * access to it. An entry is one word, the machine frame above a type; frame 0 is nobody's, so it stands for none.
 */
import { NO_MFN, mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";

/** What a gfn stands for. Those that must be brought back before they are used come last. */
export const P2mType = {
  /** An emulated device, or nothing: an access goes to the device model. */
  mmioDm: 0,
  ramRw: 1,
  /** Memory that is read as it is; what is written to it is discarded. */
  ramRo: 2,
  /** Memory that is read as it is, each first write to which is noted before it is done. */
  ramLogdirty: 3,
  /** A page of a device's own memory, which the guest reaches without an exit. */
  mmioDirect: 4,
  /** Memory that has no frame until it is used, and is all zero then. */
  populateOnDemand: 5,
  /** The pager is about to take the page away, unless somebody wants it: its frame is still there. */
  pagingOut: 6,
  /** The pager has the page. */
  paged: 7,
  /** It has been asked for it. */
  pagingIn: 8,
} as const;

const TYPE_BITS = 4;
const TYPE_MASK = 15;
const LAST_MAPPED = P2mType.mmioDirect;
const FIRST_RAM = P2mType.ramRw;
const LAST_RAM = P2mType.ramLogdirty;

/** The entry for a frame (NO_MFN: none) and a type. */
export function p2mEntry(frame: Mfn, type: number): number {
  return frame === NO_MFN ? type : (frame << TYPE_BITS) | type;
}

/** The type in an entry, a `P2mType`. */
export function typeInP2mEntry(entry: number): number {
  return entry & TYPE_MASK;
}

/** The frame that an entry has, whether or not the guest may use it now; NO_MFN when it has none. */
export function frameInP2mEntry(entry: number): Mfn {
  const frame = entry >>> TYPE_BITS;
  return frame === 0 ? NO_MFN : mfn(frame);
}

/** The frame of memory that the guest finds there; NO_MFN when it finds none. */
export function ramInP2mEntry(entry: number): Mfn {
  const type = entry & TYPE_MASK;
  return type < FIRST_RAM || type > LAST_RAM ? NO_MFN : frameInP2mEntry(entry);
}

/** The frame that tables may map there: memory, or a device's own; NO_MFN when they may map none. */
export function mappedInP2mEntry(entry: number): Mfn {
  return (entry & TYPE_MASK) > LAST_MAPPED ? NO_MFN : frameInP2mEntry(entry);
}

/** Whether the page has to be brought back before it can be used. */
export function isAbsentEntry(entry: number): boolean {
  return (entry & TYPE_MASK) > LAST_MAPPED;
}

/** Whether no table may let the page be written (spec 4.8, rule 13). */
export function isReadOnlyEntry(entry: number): boolean {
  const type = entry & TYPE_MASK;
  return type === P2mType.ramRo || type === P2mType.ramLogdirty;
}

/** Whether what is written to the page goes nowhere. */
export function discardsWrites(entry: number): boolean {
  return (entry & TYPE_MASK) === P2mType.ramRo;
}

/** The types that the toolstack can give memory, by the names that its programs use. */
export const MEMORY_TYPES = {
  "read-write": P2mType.ramRw,
  "read-only": P2mType.ramRo,
  "log-dirty": P2mType.ramLogdirty,
} as const;

/** The name of a type, for people: Xen's, without the prefix. */
export function p2mTypeName(type: number): string {
  return NAMES[type] ?? `type ${String(type)}`;
}

const NAMES: readonly string[] = [
  "mmio_dm",
  "ram_rw",
  "ram_ro",
  "ram_logdirty",
  "mmio_direct",
  "populate_on_demand",
  "ram_paging_out",
  "ram_paged",
  "ram_paging_in",
];
