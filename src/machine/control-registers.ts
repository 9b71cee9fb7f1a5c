import { MAXPHYADDR } from "./entry.ts";

/** Bits of the control registers that paging depends on (Intel SDM vol. 3, 2.5 and 2.2.1). Other bits are kept as written. */
export const Cr0 = {
  /** Protection enable. */
  pe: 1 << 0,
  /** Write protect: supervisor writes heed read-only entries. */
  wp: 1 << 16,
  /** Cache disable. */
  cd: 1 << 30,
  /** Paging. */
  pg: 1 << 31,
} as const;

/** Bits of CR4. */
export const Cr4 = {
  pse: 1 << 4,
  pae: 1 << 5,
  pge: 1 << 7,
  pcide: 1 << 17,
  smep: 1 << 20,
  smap: 1 << 21,
} as const;

/** Bits of EFER. */
export const Efer = {
  /** Long mode enable. */
  lme: 1 << 8,
  /** Long mode active: LME and CR0.PG; derived, never stored. */
  lma: 1 << 10,
  /** No-execute enable. */
  nxe: 1 << 11,
} as const;

/** Address bits of the high half of CR3 that no processor here has. Bit 63, no flush, is ignored. */
export const CR3_BEYOND_PHYSICAL: number = 0x7fff_ffff & ~((1 << (MAXPHYADDR - 32)) - 1);

/** Levels of the pagetables that a guest with these registers uses: 0 with paging off, else 2, 3 or 4. */
export function guestPagingLevels(cr0: number, cr4: number, efer: number): number {
  if ((cr0 & Cr0.pg) === 0) return 0;
  if ((efer & Efer.lme) !== 0) return 4;
  return (cr4 & Cr4.pae) === 0 ? 2 : 3;
}
