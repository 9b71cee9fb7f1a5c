/**
 * Frame records: what Xen keeps in `page_info`, as a struct of arrays (spec 1.1, 1.2). A machine frame is free in the
 * heap, a page of guest memory, or a page of the shadow pool; which fields mean something follows from that.
 *
 * Every field is guarded by the paging lock, those that count mappings by the frame's lock in part of it. Xen overlays shadow fields with those of guest pages to save space;
 * here each has an array of its own, so that a use of the wrong one is seen instead of misread.
 */
import type { CellGuard, Layout } from "./layout.ts";
import type { SharedMemory } from "./shared-memory.ts";
import { mfn } from "./units.ts";
import type { Mfn } from "./units.ts";

/** The fields of a frame record, a word each, in the order of their arrays. */
export const FRAME_FIELD_NAMES = [
  "use",
  "type",
  "count",
  "typecount",
  "pageType",
  "shadowFlags",
  "back",
  "up",
  "nextFrame",
  "previousFrame",
  "hashNext",
  "state",
  "timestamp",
  "generation",
  "sibling",
  "writes",
  "dying",
] as const;

const COUNTED = "mappings are counted by whoever makes them, in part of the paging lock too";

/** Fields that may also be read without the paging lock, or need not all of it. */
export const FRAME_FIELD_GUARDS: Readonly<Partial<Record<(typeof FRAME_FIELD_NAMES)[number], CellGuard>>> = {
  count: { guard: "frame lock", because: COUNTED },
  typecount: { guard: "frame lock", because: COUNTED },
  pageType: {
    guard: "frame lock",
    anybody: "reads",
    because:
      "whoever reads it without asks whether the page is the identity pagetable, which it always or never is",
  },
  timestamp: { guard: "frame lock", because: COUNTED },
  type: {
    guard: "paging lock",
    anybody: "reads",
    because:
      "INVLPG reads the shadow tree without a lock: a type that is out of date means a flush by whoever changed it, and " +
      "the page is not used again before this vCPU has flushed",
  },
  state: {
    guard: "paging lock",
    anybody: "reads",
    because:
      "whoever reads shadows without a lock asks whether one is out of sync: if it is, the lock decides; if it has only just " +
      "gone out of sync, what is read there was still true (spec 7.1)",
  },
};

/** Number of fields, so of words, in a frame record. */
export const FRAME_FIELDS: number = FRAME_FIELD_NAMES.length;

/** What a frame is used for: free, the guest's memory, the paging mode's pool, or a device's own memory. */
export const FrameUse = { heap: 0, guest: 1, pool: 2, device: 3 } as const;

/** Whether a guest's tables may map a frame of a use: memory, or what a device has of its own. */
export function isOfGuest(use: number): boolean {
  return use === FrameUse.guest || use === FrameUse.device;
}

/** Flag of `shadowFlags`: the page has at least one shadow (Xen's PGC_shadowed_pt). Bits below are `1 << type`. */
export const SHADOWED = 1 << 30;

/** Flag of `shadowFlags`: the page's one shadow, a level 1, may differ from it (spec 7.1). */
export const OUT_OF_SYNC = 1 << 28;
/**
 * Flag of `shadowFlags`: writable mappings of the page may exist although it is shadowed. Equal to `OUT_OF_SYNC` but in the
 * middle of a resync.
 */
export const MAY_WRITE = 1 << 29;
/** The bits `1 << type` of `shadowFlags`. */
export const SHADOW_TYPES = (1 << 13) - 1;
/** Bit of a shadow page's `state`: the page that it shadows is out of sync. */
export const SHADOW_OUT_OF_SYNC = 4;

/** Typed references to a guest page can be for writing, or the page is the identity pagetable (spec 1.6). */
export const PageType = { none: 0, writable: 1, identityPagetable: 2 } as const;

/** Value that fills a guest frame when it is freed: never present as an entry, easy to see as data. */
export const POISON = 0xdeadf0f0 | 0;

/** The records of all frames. Callers hold the paging lock. */
export class FrameTable {
  readonly frames: number;
  readonly #memory: SharedMemory;
  readonly #use: number;
  readonly #type: number;
  readonly #count: number;
  readonly #typecount: number;
  readonly #pageType: number;
  readonly #shadowFlags: number;
  readonly #back: number;
  readonly #up: number;
  readonly #next: number;
  readonly #previous: number;
  readonly #hashNext: number;
  readonly #state: number;
  readonly #timestamp: number;
  readonly #generation: number;
  readonly #sibling: number;
  readonly #writes: number;
  readonly #dying: number;

  constructor(memory: SharedMemory, layout: Layout) {
    const { offset } = layout.regions.records;
    const { frames } = layout.sizes;
    const field = (name: (typeof FRAME_FIELD_NAMES)[number]): number =>
      offset + FRAME_FIELD_NAMES.indexOf(name) * frames;
    this.frames = frames;
    this.#memory = memory;
    this.#use = field("use");
    this.#type = field("type");
    this.#count = field("count");
    this.#typecount = field("typecount");
    this.#pageType = field("pageType");
    this.#shadowFlags = field("shadowFlags");
    this.#back = field("back");
    this.#up = field("up");
    this.#next = field("nextFrame");
    this.#previous = field("previousFrame");
    this.#hashNext = field("hashNext");
    this.#state = field("state");
    this.#timestamp = field("timestamp");
    this.#generation = field("generation");
    this.#sibling = field("sibling");
    this.#writes = field("writes");
    this.#dying = field("dying");
  }

  /** What the frame is used for, a `FrameUse`. */
  use(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#use + frame);
  }
  setUse(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#use + frame, value);
  }

  /** Pool page: its shadow type (spec 1.4), 0 when free. */
  type(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#type + frame);
  }
  setType(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#type + frame, value);
  }

  /** Guest page: general references. Shadow (head page): its reference count. */
  count(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#count + frame);
  }
  setCount(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#count + frame, value);
  }

  /** Guest page: number of present, writable shadow leaves that map it, plus declared external writers. */
  typecount(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#typecount + frame);
  }
  setTypecount(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#typecount + frame, value);
  }

  /** Guest page: its recorded `PageType`. */
  pageType(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#pageType + frame);
  }
  setPageType(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#pageType + frame, value);
  }

  /** Guest page: bit `1 << type` for each shadow it has, and `SHADOWED` when it has any. */
  shadowFlags(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#shadowFlags + frame);
  }
  setShadowFlags(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#shadowFlags + frame, value);
  }

  /** Guest page: its gfn (the m2p). Shadow: mfn of the guest page it shadows, or gfn for fl1 types. */
  back(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#back + frame);
  }
  setBack(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#back + frame, value);
  }

  /** Shadow: cell of one parent entry that points here, 0 when none is known. */
  up(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#up + frame);
  }
  setUp(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#up + frame, value);
  }

  /** Next frame of a free list or of the pinned list. 0 ends a list. */
  nextFrame(frame: Mfn): Mfn {
    return mfn(this.#memory.loadGuarded(this.#next + frame));
  }
  setNextFrame(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#next + frame, value);
  }

  /** Previous shadow of the pinned list, 0 at its head. */
  previousFrame(frame: Mfn): Mfn {
    return mfn(this.#memory.loadGuarded(this.#previous + frame));
  }
  setPreviousFrame(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#previous + frame, value);
  }

  /** Shadow: next in its hash chain, 0 at the end. */
  hashNext(frame: Mfn): Mfn {
    return mfn(this.#memory.loadGuarded(this.#hashNext + frame));
  }
  setHashNext(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#hashNext + frame, value);
  }

  /** Next page of a shadow of several pages, 0 after the last. */
  sibling(frame: Mfn): Mfn {
    return mfn(this.#memory.loadGuarded(this.#sibling + frame));
  }
  setSibling(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#sibling + frame, value);
  }

  /** Guest page: stores to it that were emulated since a fault was last fixed through it, for when it goes out of sync. */
  writes(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#writes + frame);
  }
  setWrites(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#writes + frame, value);
  }

  /** Pool page: bit 0 pinned, bit 1 head page of its shadow, bit 2 `SHADOW_OUT_OF_SYNC`. */
  state(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#state + frame);
  }
  setState(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#state + frame, value);
  }

  /**
   * Pool page: TLB clock when it was freed; stale translations through it need a flush before reuse. Guest page: TLB
   * clock when its last writable mapping went, 0 if it never had one; until a flush some TLB may still let it be written.
   */
  timestamp(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#timestamp + frame);
  }
  setTimestamp(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#timestamp + frame, value);
  }

  /** How often the frame has been freed. A saved frame number is stale when this has changed. */
  generation(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#generation + frame);
  }
  setGeneration(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#generation + frame, value);
  }

  /** Guest page: 1 while it is the root table of a process that the guest has said to be dying. */
  dying(frame: Mfn): number {
    return this.#memory.loadGuarded(this.#dying + frame);
  }
  setDying(frame: Mfn, value: number): void {
    this.#memory.storeGuarded(this.#dying + frame, value);
  }
}
