/**
 * Which pages of a frame buffer have changed since a display last asked (spec 11.8): the range, and a bit for each of its
 * pages. Every mode of paging assistance shares this; how it notices writes is its own business (`lookAtVram`). Xen
 * allocates what is kept of each page; here it has a region of its own, so that tracking cannot fail for lack of memory.
 */
import { DomainCell } from "../memory/domain-area.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Domain } from "./domain.ts";

const PAGES = DomainCell.vramPages;
const FIRST = DomainCell.vramFirst;

/** What the log is built on. */
export interface VramLogBase {
  readonly memory: SharedMemory;
  readonly layout: Layout;
  readonly domain: Domain;
}

/** The tracked range, as one thread sees it. All but `isOn` are called with the paging lock held. */
export class VramLog {
  readonly #memory: SharedMemory;
  readonly #domain: Domain;
  readonly #mappings: number;
  readonly #bits: number;

  constructor({ memory, layout, domain }: VramLogBase) {
    this.#memory = memory;
    this.#domain = domain;
    this.#mappings = layout.regions.vram.offset;
    this.#bits = this.#mappings + layout.sizes.ramPages;
  }

  /** Whether a range is tracked. Without the lock it may have changed by the time that it is acted upon. */
  isOn(): boolean {
    return this.#domain.read(PAGES) !== 0;
  }

  /** Tracks `pages` pages from gfn `first` on, of which nothing is known yet. */
  startTracking(first: number, pages: number, milliseconds: number): void {
    const domain = this.#domain;
    domain.write(FIRST, first);
    domain.write(PAGES, pages);
    domain.write(DomainCell.vramIdle, 1);
    domain.write(DomainCell.vramChangedAt, milliseconds);
    domain.write(DomainCell.vramChanged, 0);
    domain.write(DomainCell.vramUnflushed, 0);
    for (let index = 0; index < pages; index++) this.setMapping(index, 0);
    for (let word = 0; word < this.wordCount(); word++) this.#memory.storeGuarded(this.#bits + word, 0);
  }

  /** Tracks nothing any more. */
  stopTracking(): void {
    this.#domain.write(PAGES, 0);
    this.#domain.write(FIRST, 0);
  }

  /** Whether just this range is tracked. */
  isRange(first: number, pages: number): boolean {
    return this.#domain.read(FIRST) === first && this.#domain.read(PAGES) === pages;
  }

  /** The first page that is tracked. */
  firstPage(): number {
    return this.#domain.read(FIRST);
  }

  /** Pages that are tracked. */
  pageCount(): number {
    return this.#domain.read(PAGES);
  }

  /** Words of the bitmap of the range. */
  wordCount(): number {
    return (this.pageCount() + 31) >>> 5;
  }

  /** The place of a page in the range, -1 when it is not in it. */
  placeOf(gfn: number): number {
    const index = gfn - this.#domain.read(FIRST);
    return index >= 0 && index < this.#domain.read(PAGES) ? index : -1;
  }

  /** Whether a page of the range has changed since the last look. */
  isDirty(index: number): boolean {
    return ((this.#memory.loadGuarded(this.#bits + (index >>> 5)) >>> (index & 31)) & 1) !== 0;
  }

  /** A page of the range has changed. */
  setDirty(index: number): void {
    const cell = this.#bits + (index >>> 5);
    this.#memory.storeGuarded(cell, this.#memory.loadGuarded(cell) | (1 << (index & 31)));
    this.#domain.write(DomainCell.vramChanged, 1);
  }

  /** A page of guest memory has been, or is about to be, written without the guest's own store. */
  noteWrite(gfn: number): void {
    const index = this.placeOf(gfn);
    if (index >= 0) this.setDirty(index);
  }

  /** Cell of the only leaf that is known to let a page of the range be written, 0 when none is. */
  mappingOf(index: number): number {
    return this.#memory.loadGuarded(this.#mappings + index);
  }

  /** Sets it. */
  setMapping(index: number, cell: number): void {
    this.#memory.storeGuarded(this.#mappings + index, cell);
  }

  /** Moves the bits to a bitmap, from which they are told. Returns how many there are. */
  takeBits(bitmap: Int32Array): number {
    let count = 0;
    for (let word = 0; word < bitmap.length; word++) {
      const cell = this.#bits + word;
      const bits = this.#memory.loadGuarded(cell);
      bitmap[word] = bits;
      if (bits !== 0) this.#memory.storeGuarded(cell, 0);
      for (let left = bits; left !== 0; left &= left - 1) count++;
    }
    return count;
  }
}
