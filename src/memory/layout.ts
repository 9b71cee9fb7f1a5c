/**
 * Where everything lies in the one SharedArrayBuffer of a machine, and how each region is guarded.
 *
 * The declaration is data: the documentation prints it, and the race detector holds every access against it.
 * Machine frames come first, so that frame number and slot give the cell of an entry with one shift.
 */
import { COUNTER_WORDS } from "./counters.ts";
import { FRAME_FIELDS } from "./frame-table.ts";
import { recordOf } from "./records.ts";
import { PAGE_WORDS } from "./units.ts";

/**
 * How the cells of a region may be accessed: `atomic` by anybody, `private` by the one vCPU whose area it is, or by
 * whoever holds the lock named. `startup` is written before the vCPUs run and only read afterwards. What the paging lock
 * guards may be read by whoever holds a part of it; `frame lock` is the paging lock, or a part and the lock of the frame.
 */
export type Guard =
  | "atomic"
  | "private"
  | "startup"
  | "paging lock"
  | "frame lock"
  | "p2m lock"
  | "heap lock"
  | "its own lock";

/** The guard of a single cell, where it differs from its region's or leaves something open. */
export interface CellGuard {
  readonly guard: Guard;
  /** Plain accesses that anybody may make without the guard, and why that is sound. */
  readonly anybody?: "reads" | "accesses";
  /** Atomic accesses to the cell order what happens around them, and are meant to. */
  readonly publishes?: true;
  readonly because: string;
}

/** One region of the memory. Offsets and sizes in int32 words. */
export interface Region {
  readonly name: RegionName;
  readonly guard: Guard;
  readonly about: string;
  readonly offset: number;
  readonly words: number;
}

/** The sizes that determine a layout. */
export interface LayoutSizes {
  /** Guest vCPUs, 1 to 1024. One more area of each kind, the last, belongs to the toolstack. */
  readonly vcpus: number;
  /** Machine frames, the unused frame 0 included. */
  readonly frames: number;
  /** Pages of guest physical memory. */
  readonly ramPages: number;
  /** Sets of a TLB, a power of two. */
  readonly tlbSets: number;
  /** Ways of a TLB set. */
  readonly tlbWays: number;
  /** Entries of the paging-structure cache; 0 switches it off. */
  readonly structureCacheEntries: number;
}

/**
 * Kinds of lock, in the order of their areas. `p2m`, `paging` and `heap` are one lock each; of the others, which only a
 * machine with page granularity uses, there is one for each vCPU or page (docs/per-page-locks.md).
 */
export const LOCK_NAMES = ["p2m", "paging", "paging in part", "table", "frame", "heap"] as const;
/** Words in the area of one lock. */
export const LOCK_WORDS = 256;
/** Words of a vCPU's node in the queue of one lock: a cache line. */
export const QUEUE_NODE_WORDS = 16;
/** Words in which a vCPU says that it holds a part of the paging lock: a cache line. */
export const PART_WORDS = 16;
/** Words of the locks of one page: a cache line. */
export const PAGE_LOCK_WORDS = 16;
/** Words of one vCPU's control cells (vcpu-area.ts). */
export const VCPU_WORDS = 128;
/** Words of one TLB or paging-structure cache entry. */
export const TLB_ENTRY_WORDS = 4;
/** Operations that are kept of each vCPU, a power of two. */
export const RECENT_ENTRIES = 16;
/** Words of one of them (recent-operations.ts). */
export const RECENT_ENTRY_WORDS = 4;
/** Words of the domain's own state (domain-area.ts). */
export const DOMAIN_WORDS = 128;
/** Buckets of the hash of shadows (spec 2). */
export const HASH_BUCKETS = 251;
/** Words that scenarios may use to talk to the engine and to each other outside the machine. */
export const CONTROL_WORDS = 64;

const REGION_ORDER = [
  "frames",
  "control",
  "domain",
  "hash",
  // Whoever looks for words of locks finds them in a row.
  "locks",
  "parts",
  "pageLocks",
  "p2m",
  "records",
  "vcpus",
  "counters",
  "tlbs",
  "structureCaches",
  "recent",
  "queues",
  "vram",
] as const;

/** The name of a region. */
export type RegionName = (typeof REGION_ORDER)[number];

interface Declaration {
  readonly guard: Guard;
  readonly about: string;
  readonly words: (sizes: LayoutSizes) => number;
}

const DECLARATIONS: Readonly<Record<RegionName, Declaration>> = {
  frames: {
    guard: "atomic",
    about: "machine frames: guest memory, shadows, everything a hardware walk can reach",
    words: (sizes) => sizes.frames * PAGE_WORDS,
  },
  control: {
    guard: "atomic",
    about: "start gate, phase and stop word of the engine",
    words: () => CONTROL_WORDS,
  },
  domain: {
    guard: "paging lock",
    about: "the domain's state: pool, pinned list, flags; a few cells are atomic and say so",
    words: () => DOMAIN_WORDS,
  },
  hash: {
    guard: "paging lock",
    about: "heads of the chains of the hash of shadows",
    words: () => HASH_BUCKETS,
  },
  locks: {
    guard: "its own lock",
    about: "lock words (atomic) and the statistics that each lock guards itself",
    words: () => LOCK_NAMES.length * LOCK_WORDS,
  },
  p2m: {
    guard: "atomic",
    about: "guest frame to machine frame and type, written under p2m and paging lock, read by anybody",
    words: (sizes) => sizes.ramPages,
  },
  records: {
    guard: "paging lock",
    about: "frame records, one array a field",
    words: (sizes) => sizes.frames * FRAME_FIELDS,
  },
  vcpus: {
    guard: "atomic",
    about: "per-vCPU control cells: mailbox, state, registers others may read, root slots",
    words: (sizes) => (sizes.vcpus + 1) * VCPU_WORDS,
  },
  counters: {
    guard: "private",
    about: "per-vCPU counters",
    words: (sizes) => (sizes.vcpus + 1) * COUNTER_WORDS,
  },
  tlbs: {
    guard: "private",
    about: "per-vCPU TLBs",
    words: (sizes) => (sizes.vcpus + 1) * sizes.tlbSets * sizes.tlbWays * TLB_ENTRY_WORDS,
  },
  structureCaches: {
    guard: "private",
    about: "per-vCPU paging-structure caches",
    words: (sizes) => (sizes.vcpus + 1) * sizes.structureCacheEntries * TLB_ENTRY_WORDS,
  },
  recent: {
    guard: "private",
    about: "per-vCPU rings of the last operations",
    words: (sizes) => (sizes.vcpus + 1) * RECENT_ENTRIES * RECENT_ENTRY_WORDS,
  },
  queues: {
    guard: "atomic",
    about: "nodes of the queues of MCS locks, one a vCPU and lock",
    words: (sizes) => (sizes.vcpus + 1) * LOCK_NAMES.length * QUEUE_NODE_WORDS,
  },
  vram: {
    guard: "paging lock",
    about: "of each page of a tracked frame buffer the cell of its one known mapping; then a bit for each",
    words: (sizes) => sizes.ramPages + Math.ceil(sizes.ramPages / 32),
  },
  parts: {
    guard: "atomic",
    about: "whether a vCPU holds a part of the paging lock, a line each",
    words: (sizes) => (sizes.vcpus + 1) * PART_WORDS,
  },
  pageLocks: {
    guard: "atomic",
    about: "of each machine frame its table lock and its frame lock, a line each",
    words: (sizes) => sizes.frames * PAGE_LOCK_WORDS,
  },
};

/** A computed layout. Plain data, so that it can be sent to other threads. */
export interface Layout {
  readonly sizes: LayoutSizes;
  readonly regions: Readonly<Record<RegionName, Region>>;
  /** Words in all. */
  readonly words: number;
}

const REGION_ALIGNMENT = 16;

/** Lays out a machine of the given sizes. */
export function layOut(sizes: LayoutSizes): Layout {
  let offset = 0;
  const regions = recordOf(REGION_ORDER, (name): Region => {
    const { guard, about, words } = DECLARATIONS[name];
    const region = { name, guard, about, offset, words: words(sizes) };
    offset = Math.ceil((offset + region.words) / REGION_ALIGNMENT) * REGION_ALIGNMENT;
    return region;
  });
  return { sizes, regions, words: offset };
}
