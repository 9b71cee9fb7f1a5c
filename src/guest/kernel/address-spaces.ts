/** Address spaces: their descriptors in guest memory, their roots, and which vCPU runs on which. */
import { EntryFlag, entryHigh, entryLow } from "../../machine/entry.ts";
import type { Cpu } from "../cpu.ts";
import { entryIndex } from "./paging-format.ts";
import { Global, SHARED_SPACES_MAX, SPACE_BYTES, SpaceWord } from "./image.ts";
import type { KernelImage } from "./image.ts";
import type { EntryAccess } from "./entry-access.ts";
import type { PageTables, TableTools } from "./page-tables.ts";
import type { Shootdown } from "./shootdown.ts";
import type { Waits } from "./wait.ts";

const PAGE_BYTES = 4096;
const PDPT_BYTES = 32;
const USER_LEVEL2_TABLES = 2;
const ALL_LEVEL2_TABLES = 4;
const LEVEL2_ENTRIES = 512;
const TABLE_FLAGS = EntryFlag.present | EntryFlag.writable | EntryFlag.user | EntryFlag.accessed;
/** A descriptor whose space is being taken apart. */
const DYING = -1;

/** The address space that holds the kernel and nothing else. It is never destroyed. */
export const KERNEL_SPACE = 0;

/** One vCPU's view of all address spaces. A space is known by the number of its descriptor. */
export class AddressSpaces {
  /** The space that this vCPU runs on. */
  current = KERNEL_SPACE;
  readonly #cpu: Cpu;
  readonly #image: KernelImage;
  readonly #entries: EntryAccess;
  readonly #tables: PageTables;
  readonly #waits: Waits;
  readonly #shootdown: Shootdown;
  readonly #globals: number;

  constructor({ cpu, image, entries }: TableTools, tables: PageTables, waits: Waits, shootdown: Shootdown) {
    this.#cpu = cpu;
    this.#image = image;
    this.#entries = entries;
    this.#tables = tables;
    this.#waits = waits;
    this.#shootdown = shootdown;
    this.#globals = image.map.kernelBase + image.globals;
  }

  /** Address of a word of a space's descriptor. */
  wordOf(space: number, word: number): number {
    return this.#image.map.kernelBase + this.#image.spaces + SPACE_BYTES * space + word;
  }

  /** Physical address of a space's root. */
  rootOf(space: number): number {
    if (this.#image.format === "pae") return this.#image.pdpts + PDPT_BYTES * space;
    if (space === KERNEL_SPACE) return this.#image.root;
    return this.#cpu.load32(this.wordOf(space, SpaceWord.root)) >>> 0;
  }

  /** A new space with the kernel in it and one user; 0 when there is no descriptor or no memory left. */
  createSpace(): number {
    this.#waits.lockAt(this.#globals + Global.spaceLock);
    const space = this.#claimDescriptor();
    this.#waits.unlockAt(this.#globals + Global.spaceLock);
    if (space !== 0 && !this.#buildRoot(space)) {
      this.#cpu.store32(this.wordOf(space, SpaceWord.users), 0);
      return 0;
    }
    return space;
  }

  /** The space that all who give the same key share; made by the first of them. 0 as for `createSpace`. */
  joinSpace(key: number): number {
    const cpu = this.#cpu;
    const entry = this.#sharedEntry(key);
    this.#waits.lockAt(this.#globals + Global.spaceLock);
    let space = cpu.load32(entry);
    if (space !== 0) {
      cpu.add32(this.wordOf(space, SpaceWord.users), 1);
    } else {
      space = this.#claimDescriptor();
      if (space !== 0 && !this.#buildRoot(space)) {
        cpu.store32(this.wordOf(space, SpaceWord.users), 0);
        space = 0;
      }
      cpu.store32(entry, space);
    }
    this.#waits.unlockAt(this.#globals + Global.spaceLock);
    return space;
  }

  /** Gives up a reference to a shared space. True when it was the last: the caller takes the space apart. */
  leaveShared(key: number, space: number): boolean {
    this.#waits.lockAt(this.#globals + Global.spaceLock);
    const isLast = this.dropUser(space);
    if (isLast) this.#cpu.store32(this.#sharedEntry(key), 0);
    this.#waits.unlockAt(this.#globals + Global.spaceLock);
    return isLast;
  }

  /** One more reference. */
  addUser(space: number): void {
    this.#cpu.add32(this.wordOf(space, SpaceWord.users), 1);
  }

  /** One reference less. True when it was the last: the space is dying, and the caller takes it apart. */
  dropUser(space: number): boolean {
    const cpu = this.#cpu;
    const users = this.wordOf(space, SpaceWord.users);
    for (let seen = cpu.load32(users); ; seen = cpu.found) {
      if (seen < 1) cpu.panic("memory", `address space ${String(space)} has ${String(seen)} users`);
      if (cpu.compareExchange32(users, seen, seen === 1 ? DYING : seen - 1)) return seen === 1;
    }
  }

  /** Runs on another space. Flushes may be asked of this vCPU from before the switch on, and of the old after it. */
  switchTo(space: number): void {
    const cpu = this.#cpu;
    const from = this.current;
    const root = this.rootOf(space);
    const mine = 1 << cpu.id;
    if (space !== KERNEL_SPACE) cpu.updateBits32(this.wordOf(space, SpaceWord.cpus), 0, mine);
    this.#shootdown.currentRoot = root;
    cpu.loadRoot(root);
    this.current = space;
    if (from !== KERNEL_SPACE && from !== space) {
      cpu.updateBits32(this.wordOf(from, SpaceWord.cpus), mine, 0);
    }
  }

  /** Whether no other vCPU runs on a space. */
  isOnlyHere(space: number): boolean {
    return (this.#cpu.load32(this.wordOf(space, SpaceWord.cpus)) & ~(1 << this.#cpu.id)) === 0;
  }

  /** Gives the root of a dying space back, whose user half is empty, and then its descriptor. */
  destroyRoot(space: number): void {
    const cpu = this.#cpu;
    const root = this.rootOf(space);
    if (this.#image.format === "pae") this.#destroyLevel2(root);
    else {
      const frame = root / PAGE_BYTES;
      const at = this.#tables.tableAddress(frame, this.#tables.format.levels);
      const { rootEntries, map } = this.#image;
      for (let index = 0; index < rootEntries.length; index += 3)
        this.#clearEntry(at, rootEntries[index] ?? 0);
      if (map.linearMap !== 0) this.#clearEntry(at, this.#selfIndex());
      this.#tables.giveTable(frame);
    }
    cpu.store32(this.wordOf(space, SpaceWord.root), 0);
    cpu.store32(this.wordOf(space, SpaceWord.users), 0);
  }

  #claimDescriptor(): number {
    const cpu = this.#cpu;
    const { spacesMax } = this.#image;
    const start = cpu.random(spacesMax);
    for (let step = 0; step < spacesMax; step++) {
      const space = (start + step) % spacesMax;
      if (space === KERNEL_SPACE) continue;
      if (cpu.load32(this.wordOf(space, SpaceWord.users)) !== 0) continue;
      cpu.store32(this.wordOf(space, SpaceWord.users), 1);
      cpu.store32(this.wordOf(space, SpaceWord.cpus), 0);
      cpu.add32(this.wordOf(space, SpaceWord.generation), 1);
      return space;
    }
    return 0;
  }

  #buildRoot(space: number): boolean {
    const cpu = this.#cpu;
    const { rootEntries, map, format } = this.#image;
    if (format === "pae") return this.#buildLevel2(this.rootOf(space));
    const frame = this.#tables.takeTable();
    if (frame === 0) return false;
    const at = this.#tables.tableAddress(frame, this.#tables.format.levels);
    this.#writeTriples(at, rootEntries);
    if (map.linearMap !== 0) {
      const self = at + this.#selfIndex() * this.#tables.format.entryBytes;
      this.#entries.writeEntry(self, entryLow(frame, TABLE_FLAGS), entryHigh(frame));
    }
    cpu.store32(this.wordOf(space, SpaceWord.root), (frame * PAGE_BYTES) | 0);
    return true;
  }

  /** PAE: the level 2 tables of the user half at once, as Linux does, and with the linear map those of the kernel. */
  #buildLevel2(root: number): boolean {
    const { map, level2Entries, rootEntries } = this.#image;
    const at = map.kernelBase + root;
    const count = map.linearMap === 0 ? USER_LEVEL2_TABLES : ALL_LEVEL2_TABLES;
    const frames = [0, 0, 0, 0];
    for (let slot = 0; slot < count; slot++) {
      const frame = this.#tables.takeTable();
      if (frame === 0) return false;
      frames[slot] = frame;
      this.#entries.writeEntry(at + 8 * slot, entryLow(frame, EntryFlag.present), entryHigh(frame));
    }
    this.#writeTriples(at, rootEntries);
    if (map.linearMap === 0) return true;
    for (let slot = USER_LEVEL2_TABLES; slot < ALL_LEVEL2_TABLES; slot++) {
      const table = this.#tables.tableAddress(frames[slot] ?? 0, 2);
      for (let index = 0; index < level2Entries.length; index += 3) {
        const entry = (level2Entries[index] ?? 0) - slot * LEVEL2_ENTRIES;
        if (entry < 0 || entry >= LEVEL2_ENTRIES) continue;
        this.#entries.writeEntry(
          table + 8 * entry,
          level2Entries[index + 1] ?? 0,
          level2Entries[index + 2] ?? 0,
        );
      }
    }
    const last = this.#tables.tableAddress(frames[ALL_LEVEL2_TABLES - 1] ?? 0, 2);
    for (let slot = 0; slot < ALL_LEVEL2_TABLES; slot++) {
      const frame = frames[slot] ?? 0;
      this.#entries.writeEntry(last + 8 * slot, entryLow(frame, TABLE_FLAGS), entryHigh(frame));
    }
    return true;
  }

  #destroyLevel2(root: number): void {
    const { map, level2Entries } = this.#image;
    const at = map.kernelBase + root;
    const count = map.linearMap === 0 ? USER_LEVEL2_TABLES : ALL_LEVEL2_TABLES;
    for (let slot = 0; slot < ALL_LEVEL2_TABLES; slot++) {
      const frame = this.#entries.takeEntry(at + 8 * slot) >>> 12;
      if (slot >= count) continue;
      const table = this.#tables.tableAddress(frame, 2);
      for (let index = 0; index < level2Entries.length; index += 3) {
        const entry = (level2Entries[index] ?? 0) - slot * LEVEL2_ENTRIES;
        if (entry >= 0 && entry < LEVEL2_ENTRIES) this.#clearEntry(table, entry);
      }
      if (slot === ALL_LEVEL2_TABLES - 1) {
        for (let self = 0; self < ALL_LEVEL2_TABLES; self++) this.#clearEntry(table, self);
      }
      this.#tables.giveTable(frame);
    }
  }

  #writeTriples(at: number, triples: readonly number[]): void {
    const { entryBytes } = this.#tables.format;
    for (let index = 0; index < triples.length; index += 3) {
      const entry = at + (triples[index] ?? 0) * entryBytes;
      this.#entries.writeEntry(entry, triples[index + 1] ?? 0, triples[index + 2] ?? 0);
    }
  }

  #clearEntry(table: number, index: number): void {
    this.#entries.writeEntry(table + index * this.#tables.format.entryBytes, 0, 0);
  }

  #selfIndex(): number {
    return entryIndex(this.#tables.format, this.#image.map.linearMap, this.#tables.format.levels);
  }

  #sharedEntry(key: number): number {
    if (key < 0 || key >= SHARED_SPACES_MAX)
      this.#cpu.panic("guest", `no address space has the key ${String(key)}`);
    return this.#globals + Global.sharedSpaces + 4 * key;
  }
}
