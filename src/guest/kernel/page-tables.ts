/**
 * The tables of an address space as a kernel reaches them, by one of its three habits (address-map.ts). Callers hold the
 * lock of the space.
 */
import { EntryFlag, entryHigh, entryLow, frameOfEntry } from "../../machine/entry.ts";
import type { Cpu } from "../cpu.ts";
import { linearEntry } from "./address-map.ts";
import type { EntryAccess } from "./entry-access.ts";
import type { KernelImage } from "./image.ts";
import type { PageAllocator } from "./page-allocator.ts";
import { entryIndex, pagingFormat } from "./paging-format.ts";
import type { PagingFormat } from "./paging-format.ts";
import type { Windows } from "./windows.ts";

const PAGE_BYTES = 4096;
const PRESENT = EntryFlag.present;
const TABLE_FLAGS = EntryFlag.present | EntryFlag.writable | EntryFlag.user;
/** The window through which pages are cleared. */
const CLEARING_WINDOW = 8;

/** What tables are reached with. */
export interface TableTools {
  readonly cpu: Cpu;
  readonly image: KernelImage;
  readonly entries: EntryAccess;
  readonly windows: Windows;
  readonly pages: PageAllocator;
}

/** The tables of one address space at a time. */
export class PageTables {
  readonly format: PagingFormat;
  readonly #cpu: Cpu;
  readonly #image: KernelImage;
  readonly #entries: EntryAccess;
  readonly #windows: Windows;
  readonly #pages: PageAllocator;
  readonly #firstWindow: number;
  #root = 0;
  #isLinear = false;

  /** Two views that are used in turns have windows of their own: four from `firstWindow` on. */
  constructor({ cpu, image, entries, windows, pages }: TableTools, firstWindow: number) {
    this.format = pagingFormat(image.format);
    this.#cpu = cpu;
    this.#image = image;
    this.#entries = entries;
    this.#windows = windows;
    this.#pages = pages;
    this.#firstWindow = firstWindow;
  }

  /** Turns to the space with a root. Only the tables of the current space are in the linear map. */
  aimAt(root: number, isCurrent: boolean): void {
    this.#root = root;
    this.#isLinear = isCurrent && this.#image.map.linearMap !== 0;
  }

  /** Address of the entry of a level for an address; 0 when a table on the way does not exist. */
  locate(address: number, level: number): number {
    return this.#descend(address, level, false);
  }

  /** The same, but makes the tables on the way; 0 when memory is exhausted. */
  locateOrMake(address: number, level: number): number {
    return this.#descend(address, level, true);
  }

  /** A new table, all zero; its frame, 0 when memory is exhausted. */
  takeTable(): number {
    const clear = this.#pages.takeClearPage();
    if (clear !== 0) return clear;
    const frame = this.#pages.takePage();
    if (frame !== 0) this.#pages.clearSlots(this.#windows.addressOf(frame, CLEARING_WINDOW), frame);
    return frame;
  }

  /** Gives back a table, all zero, that nothing refers to any more. */
  giveTable(frame: number): void {
    this.#pages.giveClearPage(frame);
  }

  /** Address of entry 0 of a table that is not reached by an address: of a root, say. */
  tableAddress(frame: number, level: number): number {
    return this.#windows.addressOf(frame, this.#firstWindow + level - 1);
  }

  #descend(address: number, target: number, makes: boolean): number {
    let at = this.#rootEntry(address);
    for (let level = this.format.levels; level > target; level--) {
      let low = this.#entries.readEntry(at);
      let high = this.#entries.high;
      if ((low & PRESENT) === 0) {
        if (!makes) return 0;
        const table = this.takeTable();
        if (table === 0) return 0;
        low = entryLow(table, this.#tableFlags(level));
        high = entryHigh(table);
        this.#entries.writeEntry(at, low, high);
      }
      at = this.#entryBelow(address, level - 1, frameOfEntry(low, high));
    }
    return at;
  }

  #rootEntry(address: number): number {
    const { format } = this;
    const { levels, entryBytes } = format;
    const offset = entryIndex(format, address, levels) * entryBytes;
    const { map } = this.#image;
    // The level 3 tables of PAE are not pages: they lie in the kernel's data.
    if (format.name === "pae") return map.kernelBase + this.#root + offset;
    if (this.#isLinear) return linearEntry(format.name, map.linearMap, address, levels);
    return this.tableAddress(this.#root / PAGE_BYTES, levels) + offset;
  }

  #entryBelow(address: number, level: number, table: number): number {
    if (this.#isLinear) return linearEntry(this.format.name, this.#image.map.linearMap, address, level);
    return this.tableAddress(table, level) + entryIndex(this.format, address, level) * this.format.entryBytes;
  }

  /** Half of the tables start with A set, as Linux has it; the other half leave that to the first walk. */
  #tableFlags(level: number): number {
    if (this.format.name === "pae" && level === 3) return PRESENT;
    return this.#cpu.oneIn(2) ? TABLE_FLAGS : TABLE_FLAGS | EntryFlag.accessed;
  }
}
