/**
 * A kernel as its boot loader leaves it in guest memory: plain data that says where everything is, so that each vCPU can
 * start the kernel from it. Addresses are guest physical.
 */
import type { GuestFormat } from "../scenario.ts";
import type { AddressMap, Personality } from "./address-map.ts";

/** What backs the pages of an area of user memory. */
export type Backing =
  /** A page of its own in each address space, zero when it is first touched. */
  | "anonymous"
  /** The same consecutive frames in every address space. */
  | "object"
  /** Frames that are no memory: a device answers. */
  | "device"
  /** Whatever the program puts there itself. A fault is none of the kernel's business. */
  | "manual";

/** A range of user addresses and what may be done there. The same in all address spaces. */
export interface Area {
  /** First address, a multiple of a page. */
  readonly start: number;
  readonly pages: number;
  readonly backing: Backing;
  /** First frame of an object or a device; 0 for anonymous memory. */
  readonly firstFrame: number;
  readonly isWritable: boolean;
  readonly isExecutable: boolean;
  /** Mapped by large pages. Only objects, aligned to a large page in address, frame and size. */
  readonly isLarge: boolean;
}

/** How the kernel makes other vCPUs forget translations. */
export type FlushStyle =
  /** INVLPG of each page. */
  | "invlpg"
  /** A load of CR3. */
  | "reload";

/** A kernel in guest memory. */
export interface KernelImage {
  readonly format: GuestFormat;
  readonly personality: Personality;
  readonly map: AddressMap;
  readonly flush: FlushStyle;
  /** Loads of a lock that is taken before its waiter halts. */
  readonly spins: number;
  readonly vcpus: number;
  readonly ramPages: number;
  /** Root of the address space that has only the kernel, which all vCPUs start in. */
  readonly root: number;
  /** The page of locks and global words (`Global`). */
  readonly globals: number;
  /** One word a page of memory: the next page of the free list it is in. */
  readonly pageNext: number;
  /** One word a page of memory: how many mappings share it. */
  readonly pageCount: number;
  /** Address space descriptors (`SpaceWord`). */
  readonly spaces: number;
  readonly spacesMax: number;
  /** `CpuWord`s of each vCPU. */
  readonly perCpu: number;
  /** Words for the scenario's own use. */
  readonly data: number;
  readonly dataWords: number;
  /** PAE: the level 3 tables of all address spaces, four entries each. */
  readonly pdpts: number;
  /** The level 1 table of the temporary mappings. */
  readonly windowTable: number;
  /** What every new root gets: index, low and high half of each entry. */
  readonly rootEntries: readonly number[];
  /** PAE with level 2 tables of its own for the kernel's half: index in all four tables, low and high half. */
  readonly level2Entries: readonly number[];
  readonly areas: readonly Area[];
  /** Whether the kernel writes its pagetables by machine code. */
  readonly hasCode: boolean;
}

/** Offsets of the words in the page of globals, in bytes. Locks are two words: see kernel/wait.ts. */
export const Global = {
  /** Lock of the free list. */
  pageLock: 0,
  /** First page of the free list, 0 when it is empty. */
  pageHead: 8,
  /** Pages from here on have never been used … */
  pageFresh: 12,
  /** … up to this one, which is the boot loader's. */
  pageFreshEnd: 16,
  /** One bit a vCPU that serves interrupts. */
  online: 20,
  /** Lock of the directory of shared address spaces. */
  spaceLock: 24,
  /** Wait pair: vCPUs that have arrived where all meet, counted on and on. */
  arrived: 32,
  /** Shared address spaces by key, 0 when there is none yet. */
  sharedSpaces: 64,
} as const;

/** Keys that shared address spaces can have. */
export const SHARED_SPACES_MAX = 32;

/** Bytes of the page of globals in use. */
export const GLOBAL_BYTES = Global.sharedSpaces + 4 * SHARED_SPACES_MAX;

/** Offsets of the words of an address space's descriptor, in bytes. */
export const SpaceWord = {
  /** Lock of the space's tables. */
  lock: 0,
  /** One bit a vCPU that may hold translations of the space. */
  cpus: 8,
  /** References by vCPUs and others; 0 when the descriptor is free. */
  users: 12,
  /** Physical address of the root. */
  root: 16,
  /** Times that the descriptor was used. */
  generation: 20,
  /** Words for the scenario. */
  own: 32,
} as const;

/** Bytes of an address space's descriptor. */
export const SPACE_BYTES = 128;

/** Offsets of the words that each vCPU has, in bytes. */
export const CpuWord = {
  /** One bit a vCPU that asks this one for a flush. */
  flushAskedBy: 0,
  /** The flush that this vCPU asks others for: page number, its high bits, pages (0 for all), space. */
  flushPageLow: 8,
  flushPageHigh: 12,
  flushPages: 16,
  /** One bit a vCPU that has done what this one asked for; with the word behind it, a wait pair. */
  flushDone: 24,
} as const;

/** Bytes of a vCPU's words. */
export const CPU_BYTES = 64;

/** The words of a page that kernels and programs use lie this many bytes apart; the rest of a page stays zero. */
export const SLOT_STRIDE = 256;
/** Words of 8 bytes of a page that are used. */
export const PAGE_SLOTS = 16;
