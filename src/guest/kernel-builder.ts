/** Builds a kernel in guest memory: its data at the bottom, the tables of its half of the address space behind it. */
import { EntryFlag } from "../machine/entry.ts";
import type { BootTables } from "./boot-tables.ts";
import { entryCode } from "./kernel/entry-code.ts";
import { addressMap, personalityNamed, userEnd } from "./kernel/address-map.ts";
import type { AddressMap } from "./kernel/address-map.ts";
import { CPU_BYTES, SPACE_BYTES } from "./kernel/image.ts";
import type { Area, FlushStyle, KernelImage } from "./kernel/image.ts";
import { entryIndex } from "./kernel/paging-format.ts";
import type { Loader } from "./loader.ts";
import { CPUS_MAX } from "./scenario.ts";

/** An area as a scenario asks for it. What is left out: anonymous, writable, not executable, small pages. */
export type AreaWish = Pick<Area, "start" | "pages"> & Partial<Area>;

/** A kernel as a scenario asks for it. */
export interface KernelWish {
  /** How it reaches its pagetables: a `Personality`; as text, since it usually is an option. */
  readonly personality: string;
  readonly areas: readonly AreaWish[];
  /** How other vCPUs are made to forget translations: a `FlushStyle`. */
  readonly flush?: string;
  /** Whether the one-to-one map consists of large pages. */
  readonly largePages?: boolean;
  /** Address spaces that can exist at once, that of the kernel alone included. */
  readonly spacesMax?: number;
  /** Words of kernel memory for the scenario's own use. */
  readonly dataWords?: number;
  /** Loads of a lock that is taken before its waiter halts. */
  readonly spins?: number;
  /** Whether the kernel writes its pagetables by machine code, which vCPUs fetch, decode and execute. */
  readonly machineCode?: boolean;
}

const PAGE_BYTES = 4096;
const PDPT_BYTES = 32;
const LEVEL2_ENTRIES = 512;
const FLUSH_STYLES: readonly FlushStyle[] = ["invlpg", "reload"];

/** Kernel mappings are there for good: A and D are set from the start, as Linux does. */
const KERNEL_FLAGS = EntryFlag.writable | EntryFlag.accessed | EntryFlag.dirty | EntryFlag.global;

/** Where a kernel's data lies, and its end. */
interface KernelPlaces extends Pick<
  KernelImage,
  "globals" | "pageNext" | "pageCount" | "spaces" | "perCpu" | "data" | "pdpts" | "windowTable"
> {
  readonly dataEnd: number;
}

/** Builds a kernel with the loader's pages. Called by the loader. */
export function buildKernel(loader: Loader, wish: KernelWish): KernelImage {
  const { format, vcpus, ram } = loader;
  if (vcpus > CPUS_MAX)
    throw new RangeError(`a kernel runs on at most ${String(CPUS_MAX)} vCPUs, not ${String(vcpus)}`);
  const personality = personalityNamed(wish.personality);
  const flush = FLUSH_STYLES.find((each) => each === (wish.flush ?? "invlpg"));
  if (flush === undefined)
    throw new RangeError(`a kernel flushes by ${FLUSH_STYLES.join(" or ")}, not "${wish.flush ?? ""}"`);
  const map = addressMap(format, personality);
  const spacesMax = wish.spacesMax ?? 64;
  const dataWords = wish.dataWords ?? 0;
  const places = layOutData(loader, spacesMax, dataWords);
  const tables = loader.tables();
  const { windowTable, dataEnd, ...data } = places;
  const root = format === "pae" ? data.pdpts : loader.kernelPages(1);
  const half = new KernelHalf(loader, { map, root, windowTable });
  if (personality === "one-to-one") half.mapAllMemory(wish.largePages ?? true);
  else half.mapData(dataEnd);
  if (wish.machineCode === true) half.loadCode();
  half.linkWindows();
  if (map.linearMap !== 0) half.linkSelf();
  const { rootEntries, level2Entries } = half.bootEntries();
  return {
    format,
    personality,
    map,
    flush,
    spins: wish.spins ?? 60,
    vcpus,
    ramPages: ram.pages,
    root,
    ...data,
    spacesMax,
    dataWords,
    windowTable,
    rootEntries,
    level2Entries,
    hasCode: wish.machineCode === true,
    areas: wish.areas.map((area) => completeArea(area, tables)),
  };
}

/** Gives everything that the kernel keeps its place, from the bottom of memory on. */
function layOutData(loader: Loader, spacesMax: number, dataWords: number): KernelPlaces {
  const { format, vcpus, ram } = loader;
  return {
    globals: loader.kernelPages(1),
    pageNext: loader.kernelPages(pagesFor(4 * ram.pages)),
    pageCount: loader.kernelPages(pagesFor(4 * ram.pages)),
    spaces: loader.kernelPages(pagesFor(SPACE_BYTES * spacesMax)),
    perCpu: loader.kernelPages(pagesFor(CPU_BYTES * vcpus)),
    data: loader.kernelPages(pagesFor(4 * dataWords)),
    pdpts: format === "pae" ? loader.kernelPages(pagesFor(PDPT_BYTES * spacesMax)) : 0,
    windowTable: loader.kernelPages(1) / PAGE_BYTES,
    dataEnd: loader.kernelPages(0),
  };
}

/** The part of a root that maps the kernel. */
class KernelHalf {
  readonly #loader: Loader;
  readonly #tables: BootTables;
  readonly #map: AddressMap;
  readonly #root: number;
  readonly #windowTable: number;

  constructor(loader: Loader, at: { map: AddressMap; root: number; windowTable: number }) {
    this.#loader = loader;
    this.#tables = loader.tables();
    this.#map = at.map;
    this.#root = at.root;
    this.#windowTable = at.windowTable;
  }

  /** Maps all memory at one offset. Large pages may reach beyond its end. */
  mapAllMemory(byLargePages: boolean): void {
    const { kernelBase } = this.#map;
    const { format } = this.#tables;
    const pages = byLargePages ? format.largePageBytes / PAGE_BYTES : 1;
    for (let frame = 0; frame < this.#loader.ram.pages; frame += pages) {
      const address = kernelBase + frame * PAGE_BYTES;
      if (byLargePages) this.#tables.mapLargePage(this.#root, address, frame, this.#rights());
      else this.#tables.mapPage(this.#root, address, frame, this.#rights());
    }
  }

  /** Maps the kernel's own data, up to a physical address. */
  mapData(end: number): void {
    for (let at = PAGE_BYTES; at < end; at += PAGE_BYTES) {
      this.#tables.mapPage(this.#root, this.#map.kernelBase + at, at / PAGE_BYTES, this.#rights());
    }
  }

  /** Puts the kernel's machine code into a page of its own and maps it. */
  loadCode(): void {
    const { ram } = this.#loader;
    const { bytes } = entryCode(this.#loader.format);
    const at = this.#loader.kernelPages(1);
    for (let index = 0; index < bytes.length; index += 4) {
      let word = 0;
      for (let byte = 0; byte < 4; byte++) word |= (bytes[index + byte] ?? 0) << (8 * byte);
      ram.writeWord(at + index, word);
    }
    this.#tables.mapPage(this.#root, this.#map.code, at / PAGE_BYTES, {
      flags: EntryFlag.accessed | EntryFlag.global,
    });
  }

  /** Gives the temporary mappings their table. */
  linkWindows(): void {
    this.#tables.linkTable(this.#root, this.#map.windows, 2, this.#windowTable);
  }

  /** Makes the root, or PAE's level 2 tables, appear among the tables that it refers to. */
  linkSelf(): void {
    const tables = this.#tables;
    const { linearMap } = this.#map;
    if (tables.format.name !== "pae") {
      tables.linkTable(this.#root, linearMap, tables.format.levels, this.#root / PAGE_BYTES);
      return;
    }
    for (let slot = 0; slot < 4; slot++) {
      const at = this.#root + slot * tables.format.entryBytes;
      if (tables.readEntryLow(at) === 0) tables.linkTable(this.#root, slot * 2 ** 30, 3, tables.newTable());
      const level2 = tables.readEntryLow(at) >>> 12;
      tables.linkTable(this.#root, linearMap + slot * tables.format.largePageBytes, 2, level2);
    }
  }

  /** What new address spaces copy. The self map is not among it: each has its own. */
  bootEntries(): Pick<KernelImage, "rootEntries" | "level2Entries"> {
    const { format } = this.#tables;
    const { linearMap } = this.#map;
    const isLinearPae = format.name === "pae" && linearMap !== 0;
    const firstRootEntry = entryIndex(format, userEnd(format.name), format.levels);
    const self = linearMap === 0 || isLinearPae ? -1 : entryIndex(format, linearMap, format.levels);
    const rootEntries = isLinearPae
      ? []
      : this.#present(this.#root, firstRootEntry, format.rootEntries, 0).filter(
          (_, at, all) => all[at - (at % 3)] !== self,
        );
    return { rootEntries, level2Entries: isLinearPae ? this.#kernelLevel2Entries() : [] };
  }

  /** PAE with a linear map: what the upper two level 2 tables hold besides the map of themselves. */
  #kernelLevel2Entries(): number[] {
    const found: number[] = [];
    for (let slot = 2; slot < 4; slot++) {
      const table = (this.#tables.readEntryLow(this.#root + 8 * slot) >>> 12) * PAGE_BYTES;
      const first = slot === 3 ? 4 : 0;
      found.push(...this.#present(table, first, LEVEL2_ENTRIES, slot * LEVEL2_ENTRIES));
    }
    return found;
  }

  /** Index plus `base`, low and high half of each entry that is present. */
  #present(table: number, first: number, end: number, base: number): number[] {
    const found: number[] = [];
    for (let index = first; index < end; index++) {
      const at = table + index * this.#tables.format.entryBytes;
      const low = this.#tables.readEntryLow(at);
      if (low !== 0) found.push(base + index, low, this.#tables.readEntryHigh(at));
    }
    return found;
  }

  #rights(): { flags: number; noExecute: boolean } {
    return { flags: KERNEL_FLAGS, noExecute: this.#tables.format.name !== "2level" };
  }
}

function completeArea(wish: AreaWish, tables: BootTables): Area {
  const area: Area = {
    backing: "anonymous",
    firstFrame: 0,
    isWritable: true,
    isExecutable: false,
    isLarge: false,
    ...wish,
  };
  const unit = area.isLarge ? tables.format.largePageBytes : PAGE_BYTES;
  const isAligned = [
    area.start,
    area.pages * PAGE_BYTES,
    area.isLarge ? area.firstFrame * PAGE_BYTES : 0,
  ].every((bytes) => bytes % unit === 0);
  const end = area.start + area.pages * PAGE_BYTES;
  if (
    !isAligned ||
    !Number.isInteger(area.pages) ||
    area.pages < 1 ||
    area.start < PAGE_BYTES ||
    end > userEnd(tables.format.name)
  ) {
    throw new RangeError(
      `no area of user memory can be at 0x${area.start.toString(16)} with ${String(area.pages)} pages`,
    );
  }
  return area;
}

function pagesFor(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES);
}
