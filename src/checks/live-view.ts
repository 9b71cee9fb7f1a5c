/**
 * A machine whose vCPUs are in flight, laid out for auditing what was written since the last audit. It is told of every
 * write, keeps sums over all entries up to date page by page, and shows invariants only what a write can have broken.
 */
import { isOfGuest } from "../memory/frame-table.ts";
import type { FrameTable } from "../memory/frame-table.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import type { Machine } from "../hypervisor/machine.ts";
import { ShadowType, isLeafType } from "../hypervisor/shadow/shadow-type.ts";
import type { AuditView, OutOfSyncSlot, ShadowEntry, ShadowInfo, TlbLine } from "./audit-view.ts";
import type { CachesInUse } from "./caches-in-use.ts";
import { Dirt } from "./dirt.ts";
import { slotsInUse } from "./out-of-sync-slots.ts";
import { References } from "./references.ts";
import { collectEntries, shadowAt, slotStep } from "./shadow-scan.ts";
import { cachedTablesOf, tlbLinesOf } from "./vcpu-caches.ts";

const ROOTS = 4;
const NONE: readonly ShadowInfo[] = [];

/** What changed on a live machine. `settle` shows it, until the next `settle`. */
export class LiveView implements AuditView {
  readonly machine: Machine;
  readonly memory: SharedMemory;
  readonly frames: FrameTable;
  readonly isLive = true;
  readonly dirt: Dirt;
  readonly shadows: ShadowInfo[] = [];
  readonly guestPages: Mfn[] = [];
  readonly leaves: ShadowEntry[] = [];
  readonly uppers: ShadowEntry[] = [];
  readonly magicEntries: ShadowEntry[] = [];
  readonly #caches: CachesInUse;
  readonly #references: References;
  #slots: readonly OutOfSyncSlot[] = [];
  /** Out-of-sync pages by their snapshots. */
  readonly #pageOfSnapshot = new Map<number, number>();
  readonly #byHead = new Map<number, ShadowInfo>();
  readonly #byBack = new Map<number, ShadowInfo[]>();
  /** Head of the shadow that a frame is a page of, 0 for none. */
  readonly #headOf: Int32Array;
  readonly #duePages: Set<number> = new Set();
  readonly #dueShadows: Set<ShadowInfo> = new Set();
  readonly #dueEntries: Set<number> = new Set();

  constructor(machine: Machine, caches: CachesInUse) {
    this.machine = machine;
    this.memory = machine.memory;
    this.frames = machine.frames;
    this.dirt = new Dirt(machine.layout, machine.memory.view);
    this.#caches = caches;
    this.#references = new References(machine.frames.frames);
    this.#headOf = new Int32Array(machine.frames.frames);
    this.dirt.everything();
  }

  /** The memory has been restored to what it was at the first call: that much is taken to be sound. */
  begin(): void {
    this.dirt.undo();
    this.settle();
    this.dirt.undo();
    this.dirt.settleTopics();
  }

  /** Looks at what was written since the last call. */
  settle(): void {
    this.#duePages.clear();
    this.#dueShadows.clear();
    this.#dueEntries.clear();
    if (this.dirt.isP2mDirty) this.dirt.everything();
    if (this.dirt.areRootsDirty) this.#noteRoots();
    this.#noteP2mTables();
    if (this.dirt.areSlotsDirty) this.#noteSlots();
    for (const frame of this.dirt.records) this.#identify(mfn(frame));
    for (const frame of this.dirt.pages) this.#recount(frame);
    this.#collect();
    this.dirt.settle();
  }

  allShadows(): Iterable<ShadowInfo> {
    return this.#byHead.values();
  }

  shadowWith(head: number): ShadowInfo | undefined {
    return this.#byHead.get(head);
  }

  isShadowPage(frame: number): boolean {
    return (this.#headOf[frame] ?? 0) !== 0;
  }

  outOfSyncSlots(): readonly OutOfSyncSlot[] {
    return this.#slots;
  }

  shadowsOf(back: number): readonly ShadowInfo[] {
    return this.#byBack.get(back) ?? NONE;
  }

  leafCount(frame: number): number {
    return this.#references.leaves[frame] ?? 0;
  }

  writableCount(frame: number): number {
    return this.#references.writable[frame] ?? 0;
  }

  parentCount(head: number): number {
    return this.#references.parents[head] ?? 0;
  }

  vcpuAreas(): Iterable<{ readonly vcpu: number; readonly area: number }> {
    return this.#caches.areas;
  }

  tlbLines(): TlbLine[] {
    return this.#caches.inUse().flatMap((vcpu) => tlbLinesOf(this.machine, vcpu));
  }

  cachedTables(): { readonly vcpu: number; readonly table: Mfn }[] {
    return this.#caches.inUse().flatMap((vcpu) => cachedTablesOf(this.machine, vcpu));
  }

  /** Only hap has such tables: hardware walks them. */
  #noteP2mTables(): void {
    if (this.machine.config.paging !== "hap") return;
    const isTable = (frame: number): boolean => this.frames.type(mfn(frame)) === ShadowType.p2m_table;
    if (this.dirt.pages.some(isTable) || this.dirt.records.some(isTable)) this.dirt.p2mTable();
  }

  #noteRoots(): void {
    const { view } = this.memory;
    for (const { area } of this.#caches.areas) {
      this.#duePages.add(view[area + VcpuCell.guestTable] ?? 0);
      for (let slot = 0; slot < ROOTS; slot++) this.#duePages.add(view[area + VcpuCell.roots + slot] ?? 0);
    }
  }

  /** Pages have come, gone or moved: what their shadows are held against is another. */
  #noteSlots(): void {
    const before = this.#slots;
    this.#slots = slotsInUse(this.machine);
    this.#pageOfSnapshot.clear();
    for (const { page, snapshot } of this.#slots) this.#pageOfSnapshot.set(snapshot, page);
    for (const { page, fixups } of [...before, ...this.#slots]) {
      this.#duePages.add(page);
      this.#lookAtShadowsOf(page);
      for (const cell of fixups) this.#duePages.add(cell >>> 10);
    }
  }

  #lookAtShadowsOf(page: number): void {
    for (const shadow of this.shadowsOf(page)) for (const each of shadow.pages) this.#dueEntries.add(each);
  }

  /** Makes out anew what a frame is, after its record was written. */
  #identify(frame: Mfn): void {
    this.#duePages.add(frame);
    const before = this.#byHead.get(frame);
    const now = shadowAt(this.frames, frame);
    if (before !== undefined && now !== undefined && isSame(before, now)) {
      this.#dueShadows.add(before);
      return;
    }
    if (before !== undefined) this.#forget(before);
    if (now !== undefined) this.#meet(now);
    // Whoever pointed to what it was points to something else now.
    if (before !== undefined && this.parentCount(frame) > 0) this.#lookAtUppers();
  }

  #forget(shadow: ShadowInfo): void {
    this.#byHead.delete(shadow.head);
    this.#byBack.set(
      shadow.back,
      this.shadowsOf(shadow.back).filter((other) => other !== shadow),
    );
    for (const page of shadow.pages) {
      if (this.#headOf[page] === shadow.head) this.#headOf[page] = 0;
      this.dirt.page(page);
    }
    this.#dueShadows.delete(shadow);
    this.#duePages.add(shadow.back);
  }

  #meet(shadow: ShadowInfo): void {
    this.#byHead.set(shadow.head, shadow);
    this.#byBack.set(shadow.back, [...this.shadowsOf(shadow.back), shadow]);
    for (const page of shadow.pages) {
      this.#headOf[page] = shadow.head;
      this.dirt.page(page);
    }
    this.#dueShadows.add(shadow);
    this.#duePages.add(shadow.back);
  }

  /** Counts the references of a page's entries anew. All that it refers to, or did, is due. */
  #recount(frame: number): void {
    this.#references.drop(frame, this.#duePages);
    this.#lookAtShadowsOf(frame);
    this.#lookAtShadowsOf(this.#pageOfSnapshot.get(frame) ?? 0);
    const shadow = this.#byHead.get(this.#headOf[frame] ?? 0);
    if (shadow === undefined) return;
    this.#dueShadows.add(shadow);
    this.#dueEntries.add(frame);
    const isLeaf = isLeafType(shadow.type);
    this.#references.take(this.memory.view, frame, slotStep(shadow.type), isLeaf, this.#duePages);
  }

  #lookAtUppers(): void {
    for (const { type, pages } of this.#byHead.values())
      if (!isLeafType(type)) for (const page of pages) this.#dueEntries.add(page);
  }

  #collect(): void {
    this.shadows.length = 0;
    this.guestPages.length = 0;
    this.leaves.length = 0;
    this.uppers.length = 0;
    this.magicEntries.length = 0;
    for (const frame of this.#duePages) {
      const shadow = this.#byHead.get(frame);
      if (shadow !== undefined) this.#dueShadows.add(shadow);
      else if (frame > 0 && frame < this.frames.frames && isOfGuest(this.frames.use(mfn(frame))))
        this.guestPages.push(mfn(frame));
    }
    for (const shadow of this.#dueShadows) this.shadows.push(shadow);
    for (const page of this.#dueEntries) {
      const shadow = this.#byHead.get(this.#headOf[page] ?? 0);
      if (shadow !== undefined)
        collectEntries(
          this.memory.view,
          shadow,
          shadow.pages.indexOf(mfn(page)),
          this.#sourceOf(shadow),
          this,
        );
    }
  }

  /** What a shadow's entries were made from. */
  #sourceOf({ level, back }: ShadowInfo): number {
    const slot = level === 1 ? this.#slots.find(({ page }) => page === back) : undefined;
    return slot?.snapshot ?? back;
  }
}

function isSame(one: ShadowInfo, other: ShadowInfo): boolean {
  return (
    one.type === other.type &&
    one.back === other.back &&
    one.pages.length === other.pages.length &&
    one.pages.every((page, position) => page === other.pages[position])
  );
}
