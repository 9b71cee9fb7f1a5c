/**
 * The p2m as hardware walks it: four levels of 64-bit entries in the format of long mode, as AMD's nested paging has it.
 * Tables are made once, for all of guest memory: changing an entry needs no page and cannot fail.
 *
 * There are no large pages: guest memory is scattered over the machine's on purpose, a page at a time.
 */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { EntryFlag, frameOfEntry, isPresent } from "../../machine/entry.ts";
import { ShadowType } from "../shadow/shadow-type.ts";
import { isReadOnlyEntry, mappedInP2mEntry, ramInP2mEntry } from "../p2m-type.ts";
import type { Hap } from "./hap.ts";

/** P, R/W, U/S (all accesses of a guest are user accesses here), A and D: nobody looks at the last two. */
const TABLE_FLAGS =
  EntryFlag.present | EntryFlag.writable | EntryFlag.user | EntryFlag.accessed | EntryFlag.dirty;
const TOP_LEVEL = 4;
const ENTRIES = 512;

/** Keeps the tables. Callers hold the paging lock. */
export class P2mTables {
  readonly #hap: Hap;

  constructor(hap: Hap) {
    this.#hap = hap;
  }

  /** Makes the tables for all of guest memory, with what the p2m says now. */
  build(): void {
    const { domain, p2m } = this.#hap;
    domain.write(DomainCell.p2mRoot, this.#newTable());
    for (let gfn = 0; gfn < p2m.ramPages; gfn++) this.follow(gfn);
  }

  /** The entry of a gfn says what the p2m says. */
  follow(gfn: number): void {
    const { p2m, memory, logDirty, counters } = this.#hap;
    const entry = p2m.entryOf(gfn);
    const frame = mappedInP2mEntry(entry);
    if (frame === NO_MFN) memory.storeEntry(this.#entryCell(gfn), 0, 0);
    else if (ramInP2mEntry(entry) === NO_MFN) {
      counters.add(Counter.direct_mmio_mapped);
      this.#store(gfn, frame, true);
    } else {
      const isLogged = logDirty.isOn() && !logDirty.isDirty(gfn);
      this.#store(gfn, frame, !isReadOnlyEntry(entry) && !isLogged && !this.#isWatched(gfn));
    }
  }

  /** Whether a display has yet to be told that the page has changed. */
  #isWatched(gfn: number): boolean {
    const { vram } = this.#hap.logDirty;
    const index = vram.isOn() ? vram.placeOf(gfn) : -1;
    return index >= 0 && !vram.isDirty(index);
  }

  /** The page at a gfn can be written from now on: its write has been logged, if that was asked for. */
  allowWrites(gfn: number): void {
    const frame = this.#hap.p2m.frameOf(gfn);
    if (frame !== NO_MFN) this.#store(gfn, frame, true);
  }

  /** The pages from one gfn up to another can be written no more. TLBs may still let them. */
  protectFrom(first: number, end: number): void {
    const { p2m, counters } = this.#hap;
    for (let gfn = first; gfn < end; gfn++) {
      const frame = p2m.frameOf(gfn);
      if (frame === NO_MFN) continue;
      this.#store(gfn, frame, false);
      counters.add(Counter.harvest_protected);
    }
  }

  #store(gfn: number, frame: Mfn, isWritable: boolean): void {
    const flags = isWritable ? TABLE_FLAGS : TABLE_FLAGS & ~EntryFlag.writable;
    this.#hap.memory.storeEntry(this.#entryCell(gfn), (frame << 12) | flags, frame >>> 20);
  }

  /** The entry of a gfn maps nothing. TLBs may still have it. */
  unmap(gfn: number): void {
    this.#hap.memory.storeEntry(this.#entryCell(gfn), 0, 0);
  }

  /** Gives all tables back to the pool. No vCPU walks them any more. */
  destroy(): void {
    const { domain } = this.#hap;
    const root = mfn(domain.read(DomainCell.p2mRoot));
    domain.write(DomainCell.p2mRoot, 0);
    if (root !== 0) this.#destroyTable(root, TOP_LEVEL);
  }

  /** Cell of the entry that maps a gfn; tables on the way are made. */
  #entryCell(gfn: number): number {
    let table = mfn(this.#hap.domain.read(DomainCell.p2mRoot));
    for (let level = TOP_LEVEL; level > 1; level--) table = this.#childOf(cellOf(table, level, gfn));
    return cellOf(table, 1, gfn);
  }

  #childOf(cell: number): Mfn {
    const { memory } = this.#hap;
    const low = memory.loadEntry(cell);
    if (isPresent(low)) return mfn(frameOfEntry(low, memory.high));
    const child = this.#newTable();
    memory.storeEntry(cell, (child << 12) | TABLE_FLAGS, child >>> 20);
    return child;
  }

  #newTable(): Mfn {
    const table = this.#hap.pool.lend(ShadowType.p2m_table);
    if (table === 0) throw new Error("the pool has no page left for a table of the p2m");
    return table;
  }

  #destroyTable(table: Mfn, level: number): void {
    const { memory, pool } = this.#hap;
    const entries = level === 1 ? 0 : ENTRIES;
    for (let index = 0; index < entries; index++) {
      const low = memory.loadEntry((table << 10) | (index << 1));
      if (isPresent(low)) this.#destroyTable(mfn(frameOfEntry(low, memory.high)), level - 1);
    }
    pool.takeBack(table);
  }
}

/** Cell of the entry for a gfn in a table of a level. */
function cellOf(table: Mfn, level: number, gfn: number): number {
  return (table << 10) | (((gfn >>> (9 * (level - 1))) & (ENTRIES - 1)) << 1);
}
