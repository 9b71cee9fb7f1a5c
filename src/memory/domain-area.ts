/** The cells of the domain's own state. */
import type { CellGuard } from "./layout.ts";

/**
 * Offsets in the domain region. Guard: the paging lock, except the cells said to be atomic and the heap's, which the
 * heap lock guards.
 */
export const DomainCell = {
  /** Atomic: why the domain crashed, a `CrashReason`; 0 while it runs. A crash is asynchronous (spec 20.66). */
  crashed: 0,
  /** Atomic: 1 once teardown has begun. */
  dying: 1,
  /** Atomic: the TLB clock (spec 14.8). */
  tlbClock: 2,
  /** Atomic: frame on whose account the domain crashed, for the message. */
  crashFrame: 3,
  /** Atomic: 1 once the domain has crashed or its teardown has begun: every exit asks, and one load answers. */
  dead: 4,
  /** Atomic: how often guest tables may have changed under a walk that holds no lock (spec 4.6). */
  tableVersion: 5,
  /** First page of the shadow pool's free list. */
  poolHead: 8,
  poolTail: 9,
  poolFree: 10,
  /** Pages of the pool, without those lent to the p2m. */
  poolTotal: 11,
  /** First, most recently loaded, root of the pinned list. */
  pinnedHead: 12,
  pinnedTail: 13,
  /** 1 while the hash is being scanned: lookups must not reorder chains. */
  hashWalking: 14,
  /** Atomic: 1 once an MMIO magic entry was written (spec 12.3). */
  hasFastMmioEntries: 15,
  /** 1 while level 3 shadows are pinned for old 64-bit Linux (spec 3.5). */
  linuxL3Toplevel: 16,
  /** Frame of the identity pagetable of vCPUs with paging off. */
  unpagedTable: 17,
  /** 1 once shadow mode was torn down. */
  tornDown: 18,
  /** Number of vCPUs that have been initialised. */
  vcpusInitialised: 19,
  /** What PS means in the level 2 shadows of 2-level guests, a `PageSizeMeaning`: the CR4.PSE of who came last. */
  pageSizeMeaning: 20,
  /** Which root slot of which vCPU is cut next when the pool is short: four slots a vCPU. */
  nextVictim: 21,
  /** hap: frame of the top p2m table, 0 before it is made and after the domain's end. */
  p2mRoot: 22,
  /** 1 while pages may go out of sync: every vCPU has paging on (spec 7.2). */
  outOfSyncActive: 23,
  /** Heap lock: first frame of the machine's free list. */
  heapHead: 24,
  heapTail: 25,
  heapFree: 26,
  /** 1 once the guest has said of a process that it is dying (spec 4.11). */
  dyingAnnounced: 27,
  /** 1 while writes are logged (spec 11). */
  logDirty: 32,
  /** Top node of the tree of dirty pages, 0 while nothing is dirty; bits set in it; marks for which no page was left. */
  dirtyTree: 33,
  dirtyCount: 34,
  failedMarks: 35,
  /** Faults fixed since the last harvest. */
  dirtyFaults: 36,
  /** The same of the tree that a harvest has taken and not yet handed over. */
  harvestTree: 37,
  harvestCount: 38,
  harvestFailed: 39,
  harvestFaults: 40,
  /** Whose domctl is unfinished: 1 and the number of the thread, 0 for nobody. Which one, and how far it is. */
  domctlCaller: 41,
  domctlOperation: 42,
  domctlPosition: 43,
  /** Pages of the pool that are lent to the p2m and the tree of dirty pages (spec 12.4). */
  p2mPages: 44,
  /** Atomic, a wait pair: how often the toolstack has paused the domain. */
  pauses: 46,
  /** First page and number of pages of the frame buffer that is tracked, 0 for none (spec 11.8). */
  vramFirst: 48,
  vramPages: 49,
  /** 1 while none of it can be written without a fault, so that nothing need be scanned. */
  vramIdle: 50,
  /** When it was last seen to change, in the milliseconds of whoever asks; and 1 if it has changed since that look. */
  vramChangedAt: 51,
  vramChanged: 52,
  /** 1 if a page has lost a writable mapping since the last look: a TLB may still have it. */
  vramUnflushed: 53,
  /** Atomic, a wait pair: how often a page that a vCPU waited for has come back, or has become something else. */
  pageIns: 54,
} as const;

/** Guards of the cells that the paging lock alone does not guard. */
export const DOMAIN_CELL_GUARDS: Readonly<Partial<Record<keyof typeof DomainCell, CellGuard>>> = {
  crashed: { guard: "atomic", because: "a crash is noted wherever it is found, and seen at the next exit" },
  dying: { guard: "atomic", because: "the toolstack sets it while vCPUs run" },
  tlbClock: { guard: "atomic", because: "every flush ticks it" },
  crashFrame: { guard: "atomic", because: "only for the message" },
  dead: { guard: "atomic", because: "every exit asks before it takes a lock, and again with the lock" },
  tableVersion: {
    guard: "atomic",
    because: "whoever walks without the lock reads it before, and compares it once it has the lock",
  },
  hasFastMmioEntries: {
    guard: "atomic",
    because: "those who hold a part of the paging lock may find one to be made at the same time",
  },
  poolTotal: {
    guard: "paging lock",
    anybody: "reads",
    because: "the toolstack alone changes the size, and it is the toolstack that asks without the lock",
  },
  p2mPages: {
    guard: "paging lock",
    anybody: "reads",
    because: "only for the size that is reported",
  },
  logDirty: {
    guard: "paging lock",
    anybody: "reads",
    because: "whoever finds it set asks again under the lock; who finds it clear wrote before logging was on",
  },
  vramPages: {
    guard: "paging lock",
    anybody: "reads",
    because: "as for logDirty: whoever finds it set asks again under the lock",
  },
  pauses: { guard: "atomic", publishes: true, because: "the toolstack sets it while vCPUs run" },
  pageIns: { guard: "atomic", publishes: true, because: "vCPUs wait for it while the pager works" },
  tornDown: {
    guard: "paging lock",
    anybody: "reads",
    because: "written under the p2m lock too, which whoever reads it without the paging lock holds",
  },
  heapHead: { guard: "heap lock", because: "the heap has a lock of its own" },
  heapTail: { guard: "heap lock", because: "the heap has a lock of its own" },
  heapFree: { guard: "heap lock", because: "the heap has a lock of its own" },
};

/** Whether 4 MiB pages exist in 2-level tables, as their shadows were made. */
export const PageSizeMeaning = { undecided: 0, honoured: 1, ignored: 2 } as const;

/** Why a domain crashed. */
export const CrashReason = {
  none: 0,
  poolExhausted: 1,
  rootUnshadowed: 2,
  unfindableWritableMapping: 3,
  notWritableType: 4,
  refcountOverflow: 5,
  noMemoryForRoot: 6,
} as const;

/** What a crash reason means, in words. */
export function crashText(reason: number): string {
  switch (reason) {
    case CrashReason.poolExhausted:
      return "the shadow pool is exhausted although every shadow was given up";
    case CrashReason.rootUnshadowed:
      return "a page had to be unshadowed that is the root some vCPU runs on";
    case CrashReason.unfindableWritableMapping:
      return "a writable mapping of a pagetable page could not be found";
    case CrashReason.notWritableType:
      return "a pagetable lies in a page that is not ordinary memory";
    case CrashReason.refcountOverflow:
      return "a reference count overflowed";
    case CrashReason.noMemoryForRoot:
      return "the root that CR3 names is not memory";
    default:
      return `reason ${String(reason)}`;
  }
}

/** What a domctl answers: 0 or above is no refusal (spec 11.1). */
export const DomctlAnswer = {
  done: 0,
  /** It was interrupted; the same call goes on. */
  again: 1,
  /** Tracking has begun: what was written before is not known. */
  noData: 2,
  /** A domain must not do this to itself. */
  onItself: -1,
  dying: -2,
  /** Another domctl is unfinished. */
  busy: -3,
  /** On when it is on, off when it is off, or a harvest of what is not logged. */
  wrongMode: -4,
  /** The bitmap has not a bit for each page of the guest, in whole words. */
  badBitmap: -5,
  /** Some page could not be marked, so the bitmap is incomplete; or there is no room to begin. */
  noMemory: -6,
  /** A range that is not all in the guest's memory. */
  badRange: -7,
} as const;
