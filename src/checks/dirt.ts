/** What was written since the last look, by page and by record; and since the beginning, to undo it. */
import { FRAME_FIELDS } from "../memory/frame-table.ts";
import { DomainCell } from "../memory/domain-area.ts";
import type { Layout } from "../memory/layout.ts";
import { VCPU_WORDS } from "../memory/layout.ts";
import { VCPU_CELL_WORDS, VcpuCell } from "../memory/vcpu-area.ts";
import type { Topic } from "./invariant.ts";

const PAGE = 1;
const RECORD = 2;
const EVER_PAGE = 4;
const EVER_RECORD = 8;
const SINCE_LOOK = PAGE | RECORD;
const ROOTS = 4;
const FIXUPS = VCPU_CELL_WORDS.fixups ?? 0;
/** Words of a page, as a shift. */
const PAGE_SHIFT = 10;
/** Fields of a frame record that lists go through (frame-table.ts). */
const FIELD_NEXT = 8;
const FIELD_PREVIOUS = 9;
const FIELD_HASH_NEXT = 10;

/** Notes writes. Frames are listed once each. */
export class Dirt {
  /** Frames in whose page something was written, and frames whose record was. */
  readonly pages: number[] = [];
  readonly records: number[] = [];
  isP2mDirty = false;
  areRootsDirty = false;
  areSlotsDirty = false;
  readonly #topics = new Set<Topic>();
  readonly #marks: Uint8Array;
  readonly #everPages: number[] = [];
  readonly #everRecords: number[] = [];
  readonly #layout: Layout;
  readonly #framesEnd: number;
  readonly #words: Int32Array;

  constructor(layout: Layout, words: Int32Array) {
    this.#layout = layout;
    this.#words = words;
    this.#marks = new Uint8Array(layout.sizes.frames);
    this.#framesEnd = layout.sizes.frames << PAGE_SHIFT;
  }

  /** Some cells are about to be written. */
  write(cell: number, count: number): void {
    if (cell < this.#framesEnd) {
      const last = (cell + count - 1) >>> PAGE_SHIFT;
      for (let frame = cell >>> PAGE_SHIFT; frame <= last; frame++)
        if (((this.#marks[frame] ?? 0) & PAGE) === 0) this.page(frame);
    } else this.#elsewhere(cell);
  }

  /** A page's entries are to be looked at. */
  page(frame: number): void {
    const marks = this.#marks[frame] ?? 0;
    if ((marks & PAGE) !== 0) return;
    this.pages.push(frame);
    if ((marks & EVER_PAGE) === 0) this.#everPages.push(frame);
    this.#marks[frame] = marks | PAGE | EVER_PAGE;
  }

  /** A frame's record is to be looked at. */
  record(frame: number): void {
    const marks = this.#marks[frame] ?? 0;
    if ((marks & RECORD) !== 0) return;
    this.records.push(frame);
    if ((marks & EVER_RECORD) === 0) this.#everRecords.push(frame);
    this.#marks[frame] = marks | RECORD | EVER_RECORD;
  }

  /** Whether a look at invariants of a topic is due. */
  concerns(topic: Topic): boolean {
    return topic === "any" || topic === "entries" || this.#topics.has(topic);
  }

  /** A page of the p2m's tables was written, or became or ceased to be one. */
  p2mTable(): void {
    this.#topics.add("p2m");
  }

  /** Everything is to be looked at. */
  everything(): void {
    this.areSlotsDirty = true;
    for (let frame = 1; frame < this.#layout.sizes.frames; frame++) {
      this.page(frame);
      this.record(frame);
    }
    for (const topic of ["p2m", "hash", "pinned", "pool", "heap", "dirty"] as const) this.#topics.add(topic);
  }

  /** All that was written since the last `undo` is to be looked at again: the memory has been restored. */
  undo(): void {
    this.areSlotsDirty = true;
    const pages = this.#everPages.splice(0);
    const records = this.#everRecords.splice(0);
    this.#marks.fill(0);
    this.pages.length = 0;
    this.records.length = 0;
    for (const frame of pages) this.page(frame);
    for (const frame of records) this.record(frame);
    this.#everPages.length = 0;
    this.#everRecords.length = 0;
  }

  /** What was written has been looked at. */
  settle(): void {
    for (const frame of this.pages) this.#marks[frame] = (this.#marks[frame] ?? 0) & ~SINCE_LOOK;
    for (const frame of this.records) this.#marks[frame] = (this.#marks[frame] ?? 0) & ~SINCE_LOOK;
    this.pages.length = 0;
    this.records.length = 0;
    this.isP2mDirty = false;
    this.areRootsDirty = false;
    this.areSlotsDirty = false;
  }

  /** Lists have been walked. */
  settleTopics(): void {
    this.#topics.clear();
  }

  #elsewhere(cell: number): void {
    const { records, hash, domain, p2m, vcpus } = this.#layout.regions;
    const { frames } = this.#layout.sizes;
    if (cell >= records.offset && cell < records.offset + FRAME_FIELDS * frames) {
      const field = Math.floor((cell - records.offset) / frames);
      this.record((cell - records.offset) % frames);
      if (field === FIELD_HASH_NEXT) this.#topics.add("hash");
      else if (field === FIELD_NEXT || field === FIELD_PREVIOUS) this.#topics.add("pinned");
    } else if (cell >= vcpus.offset && cell < vcpus.offset + vcpus.words) this.#vcpu(cell);
    else if (cell >= hash.offset && cell < hash.offset + hash.words) this.#topics.add("hash");
    else if (cell >= domain.offset && cell < domain.offset + domain.words) this.#domain(cell - domain.offset);
    else if (cell >= p2m.offset && cell < p2m.offset + p2m.words) {
      this.isP2mDirty = true;
      this.#topics.add("p2m");
    }
  }

  #domain(offset: number): void {
    if (offset >= DomainCell.heapHead && offset <= DomainCell.heapFree) this.#topics.add("heap");
    else if (offset === DomainCell.pinnedHead || offset === DomainCell.pinnedTail) this.#topics.add("pinned");
    else if (offset === DomainCell.p2mRoot) this.#topics.add("p2m");
    else if (offset >= DomainCell.logDirty && offset <= DomainCell.p2mPages) {
      this.#topics.add("dirty");
      if (offset === DomainCell.p2mPages) this.#topics.add("p2m");
      // Pages that may be written without a fault are others from now on, wherever they are mapped.
      if (offset === DomainCell.logDirty || offset === DomainCell.harvestTree) this.everything();
    } else if (offset >= DomainCell.poolHead && offset <= DomainCell.poolTotal) this.#topics.add("pool");
  }

  /** A root slot lets go of what it names; what it will name is looked at by `LiveView`. */
  #vcpu(cell: number): void {
    const offset = (cell - this.#layout.regions.vcpus.offset) % VCPU_WORDS;
    if (offset >= VcpuCell.outOfSync && offset < VcpuCell.fixups + FIXUPS) this.areSlotsDirty = true;
    const isReference =
      offset === VcpuCell.guestTable || (offset >= VcpuCell.roots && offset < VcpuCell.roots + ROOTS);
    if (!isReference) return;
    this.areRootsDirty = true;
    const old = this.#words[cell] ?? 0;
    if (old > 0 && old < this.#layout.sizes.frames) this.record(old);
  }
}
