/**
 * What the shadow of a recorded leaf entry must be after it was touched by a read: rules 4, 7, 9, 10, 11 and 14 of spec
 * 4.8, written down a second time and from the bits that the listing shows.
 */
import type { ListedMapping } from "./listing.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const NO_EXECUTE = 1 << 31;
/** Bits 63 to 36 of a magic entry. */
const MAGIC_HIGH = -16;

/** An entry in two int32 halves. */
export interface Entry {
  readonly low: number;
  readonly high: number;
}

/** How the machine at hand makes shadows. */
export interface ShadowRules {
  /** Whether bit 63 of guest entries forbids execution. */
  readonly hasNoExecute: boolean;
  /** Whether MMIO gets magic entries. */
  readonly hasMagic: boolean;
}

/** The leaf shadow of a page of memory. */
export function leafShadow(
  mapping: ListedMapping,
  target: { readonly frame: number; readonly isPagetable: boolean },
  rules: ShadowRules,
): Entry {
  const { frame, isPagetable } = target;
  const flags = flagsOf(mapping) & (isPagetable ? ~WRITABLE : -1);
  return { low: (frame << 12) | flags, high: (frame >>> 20) | noExecute(mapping, rules) };
}

/** The leaf shadow of a device page: it names the gfn. */
export function deviceShadow(mapping: ListedMapping, gfn: number, { hasMagic }: ShadowRules): Entry {
  if (!hasMagic) return { low: 0, high: 0 };
  const rights = flagsOf(mapping) & (WRITABLE | USER);
  return { low: (gfn << 4) | rights | PRESENT, high: MAGIC_HIGH | (gfn >>> 28) };
}

/** The flags of the level 2 shadow entry of a large page. The table that it points to is the machine's own affair. */
export function largeShadowFlags(mapping: ListedMapping, rules: ShadowRules): Entry {
  return { low: flagsOf(mapping) | DIRTY, high: noExecute(mapping, rules) };
}

/** P and A are set by the touch; a clean page cannot be written. */
function flagsOf({ isWritable, isDirty, isUser }: ListedMapping): number {
  return PRESENT | ACCESSED | (isWritable && isDirty ? WRITABLE : 0) | (isUser ? USER : 0);
}

function noExecute({ isExecuteDisabled }: ListedMapping, { hasNoExecute }: ShadowRules): number {
  return isExecuteDisabled && hasNoExecute ? NO_EXECUTE : 0;
}
