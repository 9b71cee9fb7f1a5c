/**
 * Address spaces made by hand, for guests without a kernel: a root, pages, and windows through which a guest writes its
 * own tables. Programs on them call the vCPU itself, so that a refused access is an answer and not the guest's end.
 */
import { EntryFlag } from "umbra";
import type { BootTables, Cpu, Loader } from "umbra";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import type { ReuseOrder, Switches } from "../../src/hypervisor/machine-config.ts";

/** Present, writable, with A and D: nothing has to be set by a walk. */
export const READ_WRITE: number =
  EntryFlag.present | EntryFlag.writable | EntryFlag.accessed | EntryFlag.dirty;
/** The same for user mode. */
export const USER_READ_WRITE: number = READ_WRITE | EntryFlag.user;
/** Present, accessed, clean and not writable. */
export const READ_ONLY: number = EntryFlag.present | EntryFlag.accessed;

/**
 * A machine whose pool, with few pages left, has to cut the trees that vCPUs run on at once: no old roots are pinned that
 * it could give up first. Pages are used again last in, first out.
 */
export const SHORT_OF_PAGES: { readonly reuse: ReuseOrder; readonly switches: Switches } = {
  reuse: "last-in-first-out",
  switches: { ...PRESETS.talk, pinning: false },
};

/** The talk's machine with out-of-sync shadows. */
export const OUT_OF_SYNC: Switches = { ...PRESETS.talk, "out-of-sync": true };

const PAGE = 4096;
/** Where 64-bit Linux maps all memory: the first place that a hypervisor guesses when it looks for a page's mapping. */
const DIRECT_MAP = -0x7800_0000_0000;

/** An address space under construction, made by `newSpace`. Windows lie where Linux maps all memory. */
export class Handmade {
  readonly root: number;
  readonly tables: BootTables;
  readonly #loader: Loader;

  constructor(loader: Loader, tables: BootTables, root: number) {
    this.#loader = loader;
    this.tables = tables;
    this.root = root;
  }

  /** Maps a frame at an address, with `READ_WRITE` unless said. */
  mapFrame(address: number, frame: number, flags: number = READ_WRITE): void {
    this.tables.mapPage(this.root, address, frame, { flags });
  }

  /** Maps a new page at an address; its frame. */
  page(address: number, flags: number = READ_WRITE): number {
    const frame = this.#loader.page();
    this.mapFrame(address, frame, flags);
    return frame;
  }

  /** Frame of the table whose entry of a level translates an address. */
  tableOf(address: number, level: number): number {
    return Math.floor(this.tables.entryAddress(this.root, address, level) / PAGE);
  }

  /** Where programs find the entry of a level for an address: its table is mapped there for writing. */
  windowOn(address: number, level: number): number {
    const at = this.tables.entryAddress(this.root, address, level);
    return this.windowAt(Math.floor(at / PAGE)) + (at % PAGE);
  }

  /** Maps a frame for writing where its direct mapping is. */
  windowAt(frame: number): number {
    const address = DIRECT_MAP + PAGE * frame;
    this.mapFrame(address, frame);
    return address;
  }
}

/** A new address space, empty. */
export function newSpace(loader: Loader): Handmade {
  const tables = loader.tables();
  return new Handmade(loader, tables, tables.newRoot());
}

/** A store of an entry by its address, whatever comes of it. Answers the vCPU's status. */
export function storeEntryAt(cpu: Cpu, address: number, low: number, high: number): number {
  return cpu.vcpu.store(address | 0, Math.floor(address / 2 ** 32), 8, low, high);
}

/** A store of a word, whatever comes of it. */
export function store(cpu: Cpu, address: number, value: number): number {
  return cpu.vcpu.store(address | 0, Math.floor(address / 2 ** 32), 4, value, 0);
}

/** A load of a word, whatever comes of it; the value is in `cpu.vcpu.resultLow`. */
export function load(cpu: Cpu, address: number): number {
  return cpu.vcpu.load(address | 0, Math.floor(address / 2 ** 32), 4);
}

/** A fetch of a word, whatever comes of it. */
export function fetchAt(cpu: Cpu, address: number): number {
  return cpu.vcpu.fetch(address | 0, Math.floor(address / 2 ** 32), 4);
}
