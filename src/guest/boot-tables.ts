/** Pagetables built before a guest starts, written by physical address as a boot loader does, in any of the formats. */
import { EntryFlag, entryHigh, entryLow, frameOfEntry } from "../machine/entry.ts";
import { entryIndex, pagingFormat } from "./kernel/paging-format.ts";
import type { PagingFormat } from "./kernel/paging-format.ts";
import type { GuestRam } from "./ports.ts";
import type { GuestFormat } from "./scenario.ts";

const PAGE_BYTES = 4096;

/** What an entry grants, without the present bit, which is always added; `noExecute` stands apart as bit 63. */
export interface EntryRights {
  /** `EntryFlag` bits of the low half. */
  readonly flags: number;
  readonly noExecute?: boolean;
}

/** Rights of the tables above a leaf: everything, so that the leaf alone decides. */
const TABLE_FLAGS = EntryFlag.present | EntryFlag.writable | EntryFlag.user | EntryFlag.accessed;

/** Where frames for tables come from. */
export interface PageSource {
  /** A page that nobody uses; its frame. */
  page(): number;
}

/** Builds tables of one format. Frames for them come from a source of pages. */
export class BootTables {
  readonly format: PagingFormat;
  readonly #ram: GuestRam;
  readonly #source: PageSource;

  constructor(ram: GuestRam, format: GuestFormat, source: PageSource) {
    this.format = pagingFormat(format);
    this.#ram = ram;
    this.#source = source;
  }

  /** A new, empty root; its physical address. A PAE root has a page of its own here. */
  newRoot(): number {
    return this.#source.page() * PAGE_BYTES;
  }

  /** A new, empty table below the root; its frame. */
  newTable(): number {
    return this.#source.page();
  }

  /** Maps a 4 KiB page, with the tables on the way. */
  mapPage(root: number, address: number, frame: number, rights: EntryRights): void {
    const at = this.entryAddress(root, address, 1);
    this.writeEntry(at, entryLow(frame, rights.flags | EntryFlag.present), highOf(frame, rights));
  }

  /** Maps a large page. The frame must be aligned to it. */
  mapLargePage(root: number, address: number, frame: number, rights: EntryRights): void {
    const at = this.entryAddress(root, address, 2);
    const flags = rights.flags | EntryFlag.present | EntryFlag.pageSize;
    this.writeEntry(at, entryLow(frame, flags), highOf(frame, rights));
  }

  /** Physical address of the entry of a level for an address. Tables on the way are made. */
  entryAddress(root: number, address: number, level: number): number {
    let table = root;
    for (let at = this.format.levels; at > level; at--) {
      table = this.#tableBelow(table + entryIndex(this.format, address, at) * this.format.entryBytes, at);
    }
    return table + entryIndex(this.format, address, level) * this.format.entryBytes;
  }

  /** Makes an entry refer to a table that exists already. */
  linkTable(root: number, address: number, level: number, frame: number): void {
    const at = this.entryAddress(root, address, level);
    this.writeEntry(at, entryLow(frame, this.tableFlags(level)), entryHigh(frame));
  }

  /** Flags of an entry of a level that refers to a table: PAE's level 3 knows no rights. */
  tableFlags(level: number): number {
    return this.format.name === "pae" && level === 3 ? EntryFlag.present : TABLE_FLAGS;
  }

  /** Writes an entry at a physical address. */
  writeEntry(at: number, low: number, high: number): void {
    this.#ram.writeWord(at, low);
    if (this.format.entryBytes === 8) this.#ram.writeWord(at + 4, high);
  }

  /** The low half of the entry at a physical address. */
  readEntryLow(at: number): number {
    return this.#ram.readWord(at);
  }

  /** The high half of the entry at a physical address; 0 in the format that has none. */
  readEntryHigh(at: number): number {
    return this.format.entryBytes === 8 ? this.#ram.readWord(at + 4) : 0;
  }

  #tableBelow(at: number, level: number): number {
    const low = this.readEntryLow(at);
    if ((low & EntryFlag.present) !== 0) return frameOfEntry(low, this.readEntryHigh(at)) * PAGE_BYTES;
    const frame = this.newTable();
    this.writeEntry(at, entryLow(frame, this.tableFlags(level)), entryHigh(frame));
    return frame * PAGE_BYTES;
  }
}

function highOf(frame: number, rights: EntryRights): number {
  return entryHigh(frame) | (rights.noExecute === true ? EntryFlag.noExecute : 0);
}
