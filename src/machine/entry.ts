/**
 * The bits of pagetable entries (Intel SDM vol. 3A, 4.3 to 4.5). An entry is two int32 halves; a 4-byte entry of a
 * 2-level table is a low half whose high half is 0.
 *
 * Hot code asks the predicates below or keeps private copies of the masks: V8 folds a module's own constants into
 * its functions but reads an exported object anew at every use.
 */

const PRESENT = 1;
const WRITABLE = 2;
const ACCESSED = 32;
const DIRTY = 64;
const PAGE_SIZE = 128;
const NO_EXECUTE = 1 << 31;
const FRAME_MASK = 0x0fff_ffff;

/** Bits of the low half of an entry, and `noExecute` of the high half. */
export const EntryFlag = {
  /** P: the entry means something to hardware. Everything else in an entry without it is the guest's own. */
  present: PRESENT,
  /** R/W: writes are allowed below. */
  writable: WRITABLE,
  /** U/S: user-mode accesses are allowed below. */
  user: 4,
  /** PWT. */
  writeThrough: 8,
  /** PCD. */
  cacheDisable: 16,
  /** A: a walk has used the entry. */
  accessed: ACCESSED,
  /** D: a write has used the entry. Leaves only. */
  dirty: DIRTY,
  /** PS: the entry maps a large page. In a level 1 entry this bit is PAT. */
  pageSize: PAGE_SIZE,
  /** G: the translation survives a load of CR3. Leaves only. */
  global: 256,
  /** XD, bit 63: bit 31 of the *high* half. Reserved while EFER.NXE is clear. */
  noExecute: NO_EXECUTE,
} as const;

/** Physical addresses have this many bits; the address bits above are reserved. Frame numbers have 12 fewer. */
export const MAXPHYADDR = 40;

/** The frame number in an entry: bits 12 to 39. For a large page, the PAT bit (bit 12) is its lowest bit. */
export function frameOfEntry(low: number, high: number): number {
  return ((low >>> 12) | (high << 20)) & FRAME_MASK;
}

/** The low half of an entry for a frame. */
export function entryLow(frame: number, flags: number): number {
  return (frame << 12) | flags;
}

/** The high half of an entry for a frame, without the XD bit. */
export function entryHigh(frame: number): number {
  return frame >>> 20;
}

/** Whether hardware uses the entry at all. */
export function isPresent(low: number): boolean {
  return (low & PRESENT) !== 0;
}

/** Whether the entry is present and lets writes through. */
export function isWritableEntry(low: number): boolean {
  return (low & (PRESENT | WRITABLE)) === (PRESENT | WRITABLE);
}

/** Whether a walk has used the entry. */
export function isAccessed(low: number): boolean {
  return (low & ACCESSED) !== 0;
}

/** Whether a write has used the entry. */
export function isDirty(low: number): boolean {
  return (low & DIRTY) !== 0;
}

/** Whether the PS bit is set; in a level 1 entry that is PAT. */
export function hasPageSize(low: number): boolean {
  return (low & PAGE_SIZE) !== 0;
}

/** Whether the XD bit is set. */
export function isNoExecute(high: number): boolean {
  return high < 0;
}
