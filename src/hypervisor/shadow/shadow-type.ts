/** Shadow types and what is fixed about each (spec 1.4). Codes are Xen's; a type's bit in a page's flags is `1 << code`. */

/** Type codes. Code 10 (32-bit PV guests) and PAE level 3 are never shadowed here. */
export const ShadowType = {
  none: 0,
  l1_32: 1,
  fl1_32: 2,
  l2_32: 3,
  l1_pae: 4,
  fl1_pae: 5,
  l2_pae: 6,
  l1_64: 7,
  fl1_64: 8,
  l2_64: 9,
  l3_64: 11,
  l4_64: 12,
  p2m_table: 13,
  monitor_table: 14,
  /** A node of the tree of dirty pages, which is Umbra's own code: Xen gives such pages the type before. */
  dirty_tree: 15,
  /** A snapshot of an out-of-sync page: 15 in Xen, which has no type for the one before. */
  oos_snapshot: 16,
} as const;

const NAMES = Object.entries(ShadowType);

/** The name of a type code. */
export function shadowTypeName(type: number): string {
  return NAMES.find(([, code]) => code === type)?.[0] ?? `type ${String(type)}`;
}

/** Bits of all level 1 and fake level 1 types, whose entries map pages. */
export const LEAF_TYPES = (1 << 1) | (1 << 2) | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8);
/** Bits of the types whose guest entries have 4 bytes. */
export const WORD_ENTRY_TYPES = (1 << 1) | (1 << 2) | (1 << 3);
/** Bits of the types whose guest entries have 8 bytes. */
export const LONG_ENTRY_TYPES =
  (1 << 4) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8) | (1 << 9) | (1 << 11) | (1 << 12);
const FAKE_LEAF_TYPES = (1 << 2) | (1 << 5) | (1 << 8);
const TYPES_WITH_PARENTS = (1 << 1) | (1 << 4) | (1 << 7) | (1 << 9) | (1 << 11);

/** Pages of one shadow: 32-bit guest tables need two or four of 512 8-byte entries. */
export function pagesOfType(type: number): number {
  if (type === 3) return 4;
  return type === 1 || type === 2 ? 2 : 1;
}

/** Whether the entries map pages: level 1, real or fake. */
export function isLeafType(type: number): boolean {
  return ((LEAF_TYPES >>> type) & 1) !== 0;
}

/** Whether it is a fake level 1, made for a superpage: no shadow of any guest page. */
export function isFakeLeafType(type: number): boolean {
  return ((FAKE_LEAF_TYPES >>> type) & 1) !== 0;
}

/**
 * Whether shadows of the type have an upward link, unless they can be pinned. That of a shadow of two pages is its first
 * page's, for only even entries of a 2-on-3 level 2 count. fl1 is left out (spec 1.4).
 */
export function canHaveUpPointer(type: number): boolean {
  return ((TYPES_WITH_PARENTS >>> type) & 1) !== 0;
}

/** Level of the guest tables that the type shadows. */
export function levelOfType(type: number): number {
  if (isLeafType(type)) return 1;
  if (type === 11) return 3;
  return type === 12 ? 4 : 2;
}

/** Guest format that the type belongs to: 2, 3 or 4. */
export function formatOfType(type: number): number {
  if (type <= 3) return 2;
  return type <= 6 ? 3 : 4;
}

/** The level 1 type of a guest format. */
export function leafTypeOf(format: number): number {
  if (format === 2) return ShadowType.l1_32;
  return format === 3 ? ShadowType.l1_pae : ShadowType.l1_64;
}

/** The fake level 1 type of a guest format. */
export function fakeLeafTypeOf(format: number): number {
  if (format === 2) return ShadowType.fl1_32;
  return format === 3 ? ShadowType.fl1_pae : ShadowType.fl1_64;
}

/** The type of the roots of a guest format. */
export function rootTypeOf(format: number): number {
  if (format === 2) return ShadowType.l2_32;
  return format === 3 ? ShadowType.l2_pae : ShadowType.l4_64;
}

/** The type of the tables that entries of an upper type point to (not counting fl1). */
export function childTypeOf(type: number): number {
  if (type === ShadowType.l4_64) return ShadowType.l3_64;
  if (type === ShadowType.l3_64) return ShadowType.l2_64;
  return leafTypeOf(formatOfType(type));
}

/** Bits of the types whose entries can point to shadows of this type. */
export function parentTypesOf(type: number): number {
  switch (type) {
    case ShadowType.l1_32:
    case ShadowType.fl1_32:
      return 1 << ShadowType.l2_32;
    case ShadowType.l1_pae:
    case ShadowType.fl1_pae:
      return 1 << ShadowType.l2_pae;
    case ShadowType.l1_64:
    case ShadowType.fl1_64:
      return 1 << ShadowType.l2_64;
    case ShadowType.l2_64:
      return 1 << ShadowType.l3_64;
    case ShadowType.l3_64:
      return 1 << ShadowType.l4_64;
    default:
      return 0;
  }
}

/** Pages of guest memory that one fake level 1 maps. */
export function superpagePages(format: number): number {
  return format === 2 ? 1024 : 512;
}
