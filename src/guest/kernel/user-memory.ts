/**
 * What a kernel does to the user half of address spaces: pages on demand, copy on write, unmapping, protection, moving
 * pages, fork and taking apart. Each operation holds the lock of its space, stores entries by guest stores, and flushes
 * exactly when hardware asks for it: not when an entry becomes present or gets more rights.
 */
import { EntryFlag, entryHigh, entryLow, frameOfEntry } from "../../machine/entry.ts";
import { FaultCode } from "../../machine/fault-code.ts";
import type { Cpu } from "../cpu.ts";
import type { AddressSpaces } from "./address-spaces.ts";
import type { EntryAccess } from "./entry-access.ts";
import { SpaceWord } from "./image.ts";
import type { Area, KernelImage } from "./image.ts";
import { PageTables } from "./page-tables.ts";
import type { TableTools } from "./page-tables.ts";
import type { Shootdown } from "./shootdown.ts";
import { UserPages } from "./user-pages.ts";
import type { Waits } from "./wait.ts";

const PAGE_BYTES = 4096;
const { present: PRESENT, writable: WRITABLE, user: USER, accessed: ACCESSED, dirty: DIRTY } = EntryFlag;
const { pageSize: PAGE_SIZE, noExecute: NO_EXECUTE } = EntryFlag;
const OTHER_VIEW = 4;
/** Pages unmapped between two flushes, as Linux gathers them. */
const GATHER_MAX = 64;

/** What user memory is managed with. */
export interface MemoryTools extends TableTools {
  readonly waits: Waits;
  readonly shootdown: Shootdown;
  readonly spaces: AddressSpaces;
  /** The view of the tables of the current space. */
  readonly tables: PageTables;
}

/** One vCPU's hand on the user half of address spaces. */
export class UserMemory {
  readonly #cpu: Cpu;
  readonly #image: KernelImage;
  readonly #entries: EntryAccess;
  readonly #pages: UserPages;
  readonly #waits: Waits;
  readonly #shootdown: Shootdown;
  readonly #spaces: AddressSpaces;
  readonly #own: PageTables;
  readonly #other: PageTables;
  readonly #gathered = new Int32Array(GATHER_MAX);
  #gatheredCount = 0;

  constructor(tools: MemoryTools) {
    this.#cpu = tools.cpu;
    this.#image = tools.image;
    this.#entries = tools.entries;
    this.#pages = new UserPages(tools);
    this.#waits = tools.waits;
    this.#shootdown = tools.shootdown;
    this.#spaces = tools.spaces;
    this.#own = tools.tables;
    this.#other = new PageTables(tools, OTHER_VIEW);
  }

  /** The area that an address is in, or null. */
  areaOf(address: number): Area | null {
    for (const area of this.#image.areas) {
      if (address >= area.start && address < area.start + area.pages * PAGE_BYTES) return area;
    }
    return null;
  }

  /** Takes the lock of the current space and turns to its tables. */
  lockTables(): void {
    const space = this.#spaces.current;
    this.#waits.lockAt(this.#spaces.wordOf(space, SpaceWord.lock));
    this.#own.aimAt(this.#spaces.rootOf(space), true);
  }

  /** Lets go of the lock of the current space. */
  unlockTables(): void {
    this.#waits.unlockAt(this.#spaces.wordOf(this.#spaces.current, SpaceWord.lock));
  }

  /** Answers a page fault on an area's page in the current space. False when the access is not allowed. */
  resolveFault(area: Area, address: number, errorCode: number): boolean {
    this.lockTables();
    const isResolved = area.isLarge
      ? this.#fillLarge(area, address, errorCode)
      : this.#resolveSmall(area, address, errorCode);
    this.unlockTables();
    return isResolved;
  }

  /** Low half of the leaf entry of an address in the current space, 0 if there is none. */
  leafEntry(address: number): number {
    this.lockTables();
    const at = this.#own.locate(pageOf(address), 1);
    const low = at === 0 ? 0 : this.#entries.readEntry(at);
    this.unlockTables();
    return low;
  }

  /** Unmaps pages of the current space. Anonymous ones are lost. */
  unmapPages(address: number, pages: number): void {
    this.lockTables();
    this.#clearLeaves(this.#own, { address, pages, flushes: true });
    this.unlockTables();
  }

  /** Unmaps a large page of the current space. */
  unmapLarge(address: number): void {
    this.lockTables();
    const at = this.#own.locate(pageOf(address), 2);
    if (at !== 0 && (this.#entries.takeEntry(at) & PRESENT) !== 0) this.#flush(pageOf(address), 1);
    this.unlockTables();
  }

  /** Unmaps a whole area of the current space and gives its level 1 tables back. The tables hold nothing else. */
  unmapWithTables(area: Area): void {
    this.lockTables();
    this.#clearLeaves(this.#own, { address: area.start, pages: area.pages, flushes: true });
    const tables = this.#unlinkTables(this.#own, area, 2);
    // What translates through the tables is forgotten before they can become anything else.
    if (tables.length !== 0) this.#flush(0, 0);
    for (const table of tables) this.#own.giveTable(table);
    this.unlockTables();
  }

  /** Takes the write right from pages of the current space. A store then faults, and gets it back or a copy. */
  protectPages(address: number, pages: number): void {
    this.lockTables();
    let changed = 0;
    for (let page = 0; page < pages; page++) {
      const at = this.#own.locate(address + page * PAGE_BYTES, 1);
      if (at === 0) continue;
      if ((this.#entries.readEntry(at) & (PRESENT | WRITABLE)) !== (PRESENT | WRITABLE)) continue;
      this.#takeWriteRight(at);
      changed++;
    }
    if (changed !== 0) this.#flush(address, pages);
    this.unlockTables();
  }

  /**
   * Puts an entry in place of a page's own, and flushes if that was present. 0 as low half leaves nothing. For areas
   * whose pages are the program's business.
   */
  putLeaf(address: number, low: number, high: number): void {
    this.lockTables();
    const page = pageOf(address);
    const at = this.#own.locateOrMake(page, 1);
    if (at === 0) this.#pages.outOfMemory();
    const isReplaced = (this.#entries.readEntry(at) & PRESENT) !== 0;
    if (isReplaced) {
      this.#entries.takeEntry(at);
      this.#flush(page, 1);
    }
    if (low !== 0) this.#entries.writeEntry(at, low, high);
    this.unlockTables();
  }

  /** Gives a page of the current space the write right, and flushes nothing: rights may be raised without. */
  allowWrites(address: number): void {
    this.lockTables();
    const at = this.#own.locate(pageOf(address), 1);
    if (at !== 0) this.#entries.updateFlags(at, 0, WRITABLE);
    this.unlockTables();
  }

  /**
   * Rewrites part of a page's entry in the current space with what stands there, by a store of an odd size or at an odd
   * address: what a hypervisor takes for a sign that the page is no table. A and D are not in the part.
   */
  rewriteOddly(address: number): void {
    this.lockTables();
    const at = this.#own.locate(pageOf(address), 1);
    if (at !== 0) this.#entries.rewriteOddly(at);
    this.unlockTables();
  }

  /** Makes the tables of the current space use a level 1 table that exists already; others may use it too. */
  linkTable(address: number, table: number): void {
    this.lockTables();
    const at = this.#own.locateOrMake(pageOf(address), 2);
    if (at === 0) this.#pages.outOfMemory();
    this.#entries.writeEntry(at, entryLow(table, PRESENT | WRITABLE | USER), entryHigh(table));
    this.unlockTables();
  }

  /** Clears A and D of a page's entry and flushes; its low half before that, 0 if it was not present. */
  harvestAccess(address: number): number {
    this.lockTables();
    const at = this.#own.locate(pageOf(address), 1);
    let low = at === 0 ? 0 : this.#entries.readEntry(at);
    if ((low & PRESENT) === 0) low = 0;
    else low = this.#entries.updateFlags(at, ACCESSED | DIRTY, 0);
    if ((low & (ACCESSED | DIRTY)) !== 0) this.#flush(pageOf(address), 1);
    this.unlockTables();
    return low;
  }

  /** Moves an anonymous page of the current space to another frame, contents and all. False when it is not there. */
  movePage(address: number): boolean {
    this.lockTables();
    const at = this.#own.locate(pageOf(address), 1);
    const isThere = at !== 0 && (this.#entries.readEntry(at) & PRESENT) !== 0;
    if (isThere) this.#replaceFrame(at, pageOf(address));
    this.unlockTables();
    return isThere;
  }

  /** Makes a copy of the current space in which every anonymous page is shared until it is written; 0 as createSpace. */
  forkSpace(): number {
    const child = this.#spaces.createSpace();
    if (child === 0) return 0;
    this.lockTables();
    this.#other.aimAt(this.#spaces.rootOf(child), false);
    for (const area of this.#image.areas) {
      if (!area.isLarge) this.#shareArea(area);
    }
    this.#flush(0, 0);
    this.unlockTables();
    return child;
  }

  /** Takes a dying space apart, on which no vCPU runs: pages, tables, root. */
  destroySpace(space: number): void {
    const other = this.#other;
    other.aimAt(this.#spaces.rootOf(space), false);
    for (const area of this.#image.areas) {
      if (!area.isLarge) this.#clearLeaves(other, { address: area.start, pages: area.pages, flushes: false });
    }
    const { name, levels } = other.format;
    const top = name === "4level" ? levels : 2;
    for (let level = 2; level <= top; level++) {
      for (const area of this.#image.areas) {
        for (const table of this.#unlinkTables(other, area, level)) other.giveTable(table);
      }
    }
    this.#spaces.destroyRoot(space);
  }

  #resolveSmall(area: Area, address: number, errorCode: number): boolean {
    const at = this.#own.locateOrMake(pageOf(address), 1);
    if (at === 0) this.#pages.outOfMemory();
    const low = this.#entries.readEntry(at);
    const isWrite = (errorCode & FaultCode.write) !== 0;
    if ((low & PRESENT) === 0) return this.#fill(area, address, at, errorCode);
    if (isWrite && (low & WRITABLE) === 0) return area.isWritable && this.#allowWrite(area, address, at, low);
    // Another vCPU was faster, or the entry is one that this access may use all the same.
    return (errorCode & FaultCode.fetch) === 0 || this.#entries.high >= 0;
  }

  #fill(area: Area, address: number, at: number, errorCode: number): boolean {
    const isWrite = (errorCode & FaultCode.write) !== 0;
    if (isWrite && !area.isWritable) return false;
    if ((errorCode & FaultCode.fetch) !== 0 && !area.isExecutable) return false;
    const frame = this.#pages.frameFor(area, address);
    const flags = this.#pages.leafFlags(area, isWrite);
    this.#entries.writeEntry(at, entryLow(frame, flags), entryHigh(frame) | this.#pages.executeBit(area));
    return true;
  }

  #fillLarge(area: Area, address: number, errorCode: number): boolean {
    const at = this.#own.locateOrMake(pageOf(address), 2);
    if (at === 0) this.#pages.outOfMemory();
    const isWrite = (errorCode & FaultCode.write) !== 0;
    if (isWrite && !area.isWritable) return false;
    if ((errorCode & FaultCode.fetch) !== 0 && !area.isExecutable) return false;
    const low = this.#entries.readEntry(at);
    if ((low & PRESENT) !== 0) {
      if (isWrite && (low & WRITABLE) === 0) this.#entries.updateFlags(at, 0, WRITABLE);
      return true;
    }
    const { largePageBytes } = this.#own.format;
    const start = Math.floor(address / largePageBytes) * largePageBytes;
    const frame = this.#pages.frameFor(area, start);
    const flags = this.#pages.leafFlags(area, isWrite) | PAGE_SIZE;
    this.#entries.writeEntry(at, entryLow(frame, flags), entryHigh(frame) | this.#pages.executeBit(area));
    return true;
  }

  /** Copy on write, or no more than the right if nobody else has the page. */
  #allowWrite(area: Area, address: number, at: number, low: number): boolean {
    const frame = frameOfEntry(low, this.#entries.high);
    const isShared = area.backing === "anonymous" && this.#pages.countOf(frame) > 1;
    if (isShared) this.#replaceFrame(at, pageOf(address));
    this.#entries.updateFlags(at, 0, this.#cpu.oneIn(2) ? WRITABLE : WRITABLE | ACCESSED | DIRTY);
    return true;
  }

  /** Puts a copy of a page in its place. Nobody can write the old page while it is copied: it is unmapped by then. */
  #replaceFrame(at: number, page: number): void {
    const low = this.#entries.takeEntry(at);
    const { high } = this.#entries;
    const frame = frameOfEntry(low, high);
    this.#flush(page, 1);
    const copy = this.#pages.copyOf(frame);
    this.#entries.writeEntry(
      at,
      entryLow(copy, low & (PAGE_BYTES - 1)),
      (high & NO_EXECUTE) | entryHigh(copy),
    );
    this.#pages.dropPage(frame);
  }

  #shareArea(area: Area): void {
    for (let page = 0; page < area.pages; page++) {
      const address = area.start + page * PAGE_BYTES;
      const at = this.#own.locate(address, 1);
      if (at === 0) {
        page = this.#lastOfTable(area, page);
        continue;
      }
      let low = this.#entries.readEntry(at);
      const { high } = this.#entries;
      if ((low & PRESENT) === 0) continue;
      if (area.backing === "anonymous") {
        if ((low & WRITABLE) !== 0) this.#takeWriteRight(at);
        low &= ~WRITABLE;
        this.#pages.sharePage(frameOfEntry(low, high));
      }
      const copy = this.#other.locateOrMake(address, 1);
      if (copy === 0) this.#pages.outOfMemory();
      this.#entries.writeEntry(copy, low, high);
    }
  }

  /** By an access of four bytes or, as real kernels also do, of one. */
  #takeWriteRight(at: number): void {
    if (this.#cpu.oneIn(2)) this.#entries.clearWritableByte(at);
    else this.#entries.updateFlags(at, WRITABLE, 0);
  }

  #clearLeaves(view: PageTables, range: { address: number; pages: number; flushes: boolean }): void {
    const { address, pages, flushes } = range;
    for (let page = 0; page < pages; page++) {
      const at = view.locate(address + page * PAGE_BYTES, 1);
      if (at === 0 || (this.#entries.readEntry(at) & PRESENT) === 0) continue;
      const low = this.#entries.takeEntry(at);
      this.#gathered[this.#gatheredCount++] = frameOfEntry(low, this.#entries.high);
      if (this.#gatheredCount < GATHER_MAX && page + 1 < pages) continue;
      this.#freeGathered(address, pages, flushes);
    }
    this.#freeGathered(address, pages, flushes);
  }

  #freeGathered(address: number, pages: number, flushes: boolean): void {
    if (this.#gatheredCount === 0) return;
    if (flushes) this.#flush(address, pages);
    const count = this.areaOf(address)?.backing === "anonymous" ? this.#gatheredCount : 0;
    for (let index = 0; index < count; index++) this.#pages.dropPage(this.#gathered[index] ?? 0);
    this.#gatheredCount = 0;
  }

  /** Clears the entries of a level over an area that refer to tables; the tables. */
  #unlinkTables(view: PageTables, area: Area, level: number): number[] {
    const tables: number[] = [];
    const span = view.format.span[level] ?? 1;
    const end = area.start + area.pages * PAGE_BYTES;
    for (let address = Math.floor(area.start / span) * span; address < end; address += span) {
      const at = view.locate(address, level);
      if (at === 0) continue;
      const low = this.#entries.readEntry(at);
      if ((low & PRESENT) === 0) continue;
      const frame = frameOfEntry(low, this.#entries.high);
      this.#entries.writeEntry(at, 0, 0);
      if (level !== 2 || (low & PAGE_SIZE) === 0) tables.push(frame);
    }
    return tables;
  }

  #flush(address: number, pages: number): void {
    this.#shootdown.flushOwn(address, pages);
    const cpus = this.#cpu.load32(this.#spaces.wordOf(this.#spaces.current, SpaceWord.cpus));
    this.#shootdown.flushOthers(cpus, address, pages);
  }

  #lastOfTable(area: Area, page: number): number {
    const span = this.#own.format.span[2] ?? 1;
    const next = (Math.floor((area.start + page * PAGE_BYTES) / span) + 1) * span;
    return (next - area.start) / PAGE_BYTES - 1;
  }
}

function pageOf(address: number): number {
  return Math.floor(address / PAGE_BYTES) * PAGE_BYTES;
}
