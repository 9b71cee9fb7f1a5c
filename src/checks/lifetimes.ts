/**
 * Uses of frames after they were given up. A pointer to a frame is as old as the read that it came from; if the frame was
 * taken for something else since, whoever still follows the pointer uses somebody else's memory. A shadow page that was
 * freed but not taken again may still be walked: only its reuse must wait for flushes (spec 3.8). A guest page may not.
 */
import { FrameUse, isOfGuest } from "../memory/frame-table.ts";
import type { PagingMode } from "../hypervisor/machine-config.ts";
import type { Layout } from "../memory/layout.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { hex } from "./hex.ts";

const PRESENT = 1;
/** Fields of a frame record (frame-table.ts). */
const FIELD_USE = 0;
const FIELD_TYPE = 1;
const FIELD_GENERATION = 13;

/** Follows who got which pointer when, and when frames changed hands. Steps count from 1. */
export class Lifetimes {
  readonly #words: Int32Array;
  readonly #frames: number;
  readonly #records: number;
  /** When a frame was last taken for a use, 0 when it was not in this execution. */
  readonly #taken: Int32Array;
  /** By thread and frame: when a pointer to the frame was last read by hardware or by code without a lock. */
  readonly #read: Int32Array;
  readonly #touched: number[] = [];
  readonly #walksGuestTables: boolean;

  constructor(words: Int32Array, layout: Layout, paging: PagingMode = "shadow") {
    this.#walksGuestTables = paging === "hap";
    this.#words = words;
    this.#frames = layout.sizes.frames;
    this.#records = layout.regions.records.offset;
    this.#taken = new Int32Array(this.#frames);
    this.#read = new Int32Array(this.#frames * (layout.sizes.vcpus + 1));
  }

  /** A new execution begins. */
  begin(): void {
    this.#taken.fill(0);
    for (const at of this.#touched) this.#read[at] = 0;
    this.#touched.length = 0;
  }

  /** What a frame is used for, a `FrameUse`. */
  use(frame: number): number {
    return this.#words[this.#records + FIELD_USE * this.#frames + frame] ?? 0;
  }

  /** A cell of the records was written. */
  recordWritten(cell: number, step: number): void {
    const field = Math.floor((cell - this.#records) / this.#frames);
    if (field !== FIELD_USE && field !== FIELD_TYPE) return;
    if ((this.#words[cell] ?? 0) !== 0) this.#taken[(cell - this.#records) % this.#frames] = step;
  }

  /** Whether the entries of a page name machine frames. Those of the guest's own tables name gfns, which are no pointers. */
  namesFrames(page: number): boolean {
    return !(this.#walksGuestTables && this.use(page) === FrameUse.guest);
  }

  /** A thread reads an entry that names a table or a page. */
  readsEntry(thread: number, low: number, high: number, step: number): void {
    if ((low & PRESENT) !== 0) this.readsPointer(thread, frameOfEntry(low, high), step);
  }

  /** A thread reads the number of a frame. */
  readsPointer(thread: number, frame: number, step: number): void {
    if (frame <= 0 || frame >= this.#frames) return;
    const at = thread * this.#frames + frame;
    if (this.#read[at] === 0) this.#touched.push(at);
    this.#read[at] = step;
  }

  /**
   * A thread follows a pointer to a table without a lock, a page of the pool or, where hardware walks the guest's own, a
   * guest page; a sentence when it is out of date.
   */
  followsTable(thread: number, frame: number, step: number): string | undefined {
    const use = this.use(frame);
    if (use !== FrameUse.pool && !(this.#walksGuestTables && use === FrameUse.guest))
      return `it follows a pointer to ${this.#describe(frame)}, which is no table`;
    const read = this.#read[thread * this.#frames + frame] ?? 0;
    const taken = this.#taken[frame] ?? 0;
    if (read > taken) return undefined;
    if (read === 0) return `it follows a pointer to ${this.#describe(frame)} that it never read`;
    return (
      `it follows a pointer that it read ${String(step - read)} steps ago to ${this.#describe(frame)}, ` +
      `which was taken for another table ${String(step - taken)} steps ago`
    );
  }

  /** The hypervisor walks a guest table without a lock; a sentence when the frame is the guest's no more. */
  followsGuestTable(thread: number, frame: number, step: number): string | undefined {
    if (this.use(frame) !== FrameUse.guest)
      return `it walks the guest's tables in ${this.#describe(frame)}, which is not the guest's memory`;
    const read = this.#read[thread * this.#frames + frame] ?? 0;
    const taken = this.#taken[frame] ?? 0;
    // Without a read of the p2m in this execution it is the root, captured when CR3 was loaded.
    if (read === 0 || read > taken) return undefined;
    return (
      `it walks the guest's tables by a p2m entry read ${String(step - read)} steps ago in ${this.#describe(frame)}, ` +
      `which was taken for another page ${String(step - taken)} steps ago`
    );
  }

  /** A vCPU accesses a page by a translation; a sentence when the frame is not the guest's, or no more. */
  accessesPage(frame: number): string | undefined {
    if (isOfGuest(this.use(frame))) return undefined;
    return `it accesses ${this.#describe(frame)}, which is not the guest's memory`;
  }

  /** Whoever holds the paging lock accesses a frame; a sentence when the frame belongs to nobody. */
  holderAccesses(frame: number): string | undefined {
    const use = this.use(frame);
    const isFree =
      use === FrameUse.heap ||
      (use === FrameUse.pool && this.#words[this.#records + FIELD_TYPE * this.#frames + frame] === 0);
    return isFree ? `the hypervisor accesses ${this.#describe(frame)} after it was freed` : undefined;
  }

  #describe(frame: number): string {
    const generation = this.#words[this.#records + FIELD_GENERATION * this.#frames + frame] ?? 0;
    const use = ["free", "guest", "pool", "device"][this.use(frame)] ?? "unknown";
    return `frame ${hex(frame)} (${use}, freed ${String(generation)} times)`;
  }
}

/** Control cells from which hardware takes the roots of its walks. */
export function isRootCell(offset: number): boolean {
  return (
    offset === VcpuCell.hardwareRoot ||
    offset === VcpuCell.nestedRoot ||
    (offset >= VcpuCell.pdptes && offset < VcpuCell.pdptes + 8)
  );
}
