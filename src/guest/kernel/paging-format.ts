/** The three formats of pagetables (Intel SDM vol. 3A, 4.3 to 4.5) as arithmetic over addresses that are plain numbers. */
import type { GuestFormat } from "../scenario.ts";

/** One format. Level 1 is that of the leaves. */
export interface PagingFormat {
  readonly name: GuestFormat;
  /** Levels of tables: 2, 3 or 4. */
  readonly levels: number;
  /** Bytes of an entry: 4 or 8. */
  readonly entryBytes: number;
  /** Entries of a table below the root. */
  readonly entries: number;
  /** Entries of the root: PAE has four. */
  readonly rootEntries: number;
  /** Bytes that an entry of a level spans, by level; [0] is unused. */
  readonly span: readonly number[];
  /** Bytes of a large page. */
  readonly largePageBytes: number;
}

const KIB4 = 4096;

const FORMATS: Readonly<Record<GuestFormat, PagingFormat>> = {
  "2level": {
    name: "2level",
    levels: 2,
    entryBytes: 4,
    entries: 1024,
    rootEntries: 1024,
    span: [0, KIB4, KIB4 * 1024, 2 ** 32],
    largePageBytes: KIB4 * 1024,
  },
  pae: {
    name: "pae",
    levels: 3,
    entryBytes: 8,
    entries: 512,
    rootEntries: 4,
    span: [0, KIB4, KIB4 * 512, KIB4 * 512 ** 2, 2 ** 32],
    largePageBytes: KIB4 * 512,
  },
  "4level": {
    name: "4level",
    levels: 4,
    entryBytes: 8,
    entries: 512,
    rootEntries: 512,
    span: [0, KIB4, KIB4 * 512, KIB4 * 512 ** 2, KIB4 * 512 ** 3, 2 ** 48],
    largePageBytes: KIB4 * 512,
  },
};

/** The format of that name. */
export function pagingFormat(name: GuestFormat): PagingFormat {
  return FORMATS[name];
}

/** Index of the entry for an address in a table of a level. */
export function entryIndex(format: PagingFormat, address: number, level: number): number {
  const span = format.span[level] ?? 1;
  const entries = level === format.levels ? format.rootEntries : format.entries;
  // The quotient fits 36 bits and a sign; what `&` keeps of it is exact.
  return Math.floor(address / span) & (entries - 1);
}

/** An unsigned 48-bit address with its upper half negative, as the addresses of a 64-bit guest are. */
export function signExtended(address: number): number {
  return address >= 2 ** 47 ? address - 2 ** 48 : address;
}
