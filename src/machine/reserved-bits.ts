/**
 * Reserved bits of pagetable entries, which make a present entry fault with RSVD (Intel SDM vol. 3A, tables 4-4 to
 * 4-6 and 4-8 to 4-20, for MAXPHYADDR 40).
 */

const PAE = 3;
const MODE_NXE = 16;
const MODE_PSE36 = 64;
const MODE_GIGABYTE = 128;

/** Bits 40 to 51: address bits that this processor does not have. */
const ADDRESS_BEYOND = 0x000f_ff00;
/** Bit 63. */
const NO_EXECUTE = 1 << 31;
/** Bits 52 to 62: ignored by 4-level paging, reserved by PAE. */
const PAE_HIGH = 0x7ff0_0000;
/** PDPTE: R/W, U/S, A, D, PS and G; all from bit 40 up. */
const PDPTE_LOW = 0x1e6;
const PDPTE_HIGH = ~0xff;
/** Bits below the address of a large page, without bit 12, which is PAT. */
const BELOW_2M = 0x001f_e000;
const BELOW_4M = 0x003f_e000;
const BELOW_1G = 0x3fff_e000;
/** With PSE-36, bits 13 to 20 of a 4 MiB entry are address bits 32 to 39; one is left. */
const PSE36_RESERVED = 0x0020_0000;

/** The reserved bits in the high half of an 8-byte entry of any level but PAE's third. */
export function reservedHighBits(format: number, mode: number): number {
  const atAnyTime = format === PAE ? ADDRESS_BEYOND | PAE_HIGH : ADDRESS_BEYOND;
  return (mode & MODE_NXE) === 0 ? atAnyTime | NO_EXECUTE : atAnyTime;
}

/** Whether an 8-byte entry of level 2, 3 or 4 with PS set has a reserved bit in its low half: PS itself, perhaps. */
export function hasReservedLargeBits(level: number, low: number, mode: number): boolean {
  if (level === 2) return (low & BELOW_2M) !== 0;
  return level === 4 || (mode & MODE_GIGABYTE) === 0 || (low & BELOW_1G) !== 0;
}

/** Whether the 4-byte entry of a 4 MiB page has a reserved bit set. No other 4-byte entry has reserved bits. */
export function hasReserved4mBits(low: number, mode: number): boolean {
  return (low & ((mode & MODE_PSE36) === 0 ? BELOW_4M : PSE36_RESERVED)) !== 0;
}

/** Whether a PAE level 3 entry has a reserved bit set. */
export function hasReservedPdpteBits(low: number, high: number): boolean {
  return (low & PDPTE_LOW) !== 0 || (high & PDPTE_HIGH) !== 0;
}
