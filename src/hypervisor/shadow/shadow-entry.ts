/**
 * Values of shadow entries: flags, and the magic entries that let a fault be answered without a lock (spec 4.3).
 * Entries are two int32 halves.
 */

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const MAGIC_HIGH = -16;

/** Both halves of the not-present magic entry: all ones. */
export const NOT_PRESENT_MAGIC = -1;

/** Whether an entry is magic: present, and bits 63..36 all ones. Without the P bit an entry can hold anything. */
export function isMagic(low: number, high: number): boolean {
  return (low & PRESENT) !== 0 && (high & MAGIC_HIGH) === MAGIC_HIGH;
}

/** Whether a magic entry says that the guest's entry is not present; else it is an MMIO entry. */
export function isNotPresentMagic(low: number): boolean {
  return (low & 8) !== 0;
}

/** Low half of the MMIO entry for a gfn. `rights` are the guest entry's R/W and U/S bits. */
export function mmioMagicLow(gfn: number, rights: number): number {
  return (gfn << 4) | (rights & (WRITABLE | USER)) | PRESENT;
}

/** High half of the MMIO entry for a gfn of 28 bits. */
export function mmioMagicHigh(gfn: number): number {
  return MAGIC_HIGH | (gfn >>> 28);
}

/** The gfn that an MMIO entry names. */
export function mmioMagicGfn(low: number, high: number): number {
  return (low >>> 4) | ((high & 0xf) << 28);
}

/** Whether an entry maps or points to something: present and not magic. */
export function refersToFrame(low: number, high: number): boolean {
  return (low & PRESENT) !== 0 && !isMagic(low, high);
}

/** Whether no right over P, RW, US and execute is lost from the old entry to the new one (spec 4.8b). */
export function rightsOnlyGrow(oldLow: number, oldHigh: number, low: number, high: number): boolean {
  const before = (oldLow & (PRESENT | WRITABLE | USER)) | (oldHigh < 0 ? 0 : 8);
  const after = (low & (PRESENT | WRITABLE | USER)) | (high < 0 ? 0 : 8);
  return (before & ~after) === 0;
}
