/**
 * A machine at rest, laid out for auditing: every shadow, every entry, every TLB. It reads the same memory as the model,
 * but finds shadows by scanning the pool, not by asking the tables that it audits.
 */
import { isOfGuest } from "../memory/frame-table.ts";
import type { FrameTable } from "../memory/frame-table.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { mfn, vcpuId } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { VcpuCell, VcpuState, vcpuArea } from "../memory/vcpu-area.ts";
import { isInForce } from "../machine/flush.ts";
import type { Machine } from "../hypervisor/machine.ts";
import type { AuditView, OutOfSyncSlot, ShadowEntry, ShadowInfo, TlbLine } from "./audit-view.ts";
import { slotsInUse } from "./out-of-sync-slots.ts";
import { cachedTablesOf, tlbLinesOf } from "./vcpu-caches.ts";
import { collectEntries, shadowAt } from "./shadow-scan.ts";

const WRITABLE = 2;
const NONE: readonly ShadowInfo[] = [];

/** A machine, all of whose vCPUs are parked, halted or ended. Everything is read once, when it is made. */
export class MachineView implements AuditView {
  readonly machine: Machine;
  readonly memory: SharedMemory;
  readonly frames: FrameTable;
  readonly isLive = false;
  readonly shadows: readonly ShadowInfo[];
  readonly guestPages: readonly Mfn[];
  readonly leaves: ShadowEntry[] = [];
  readonly uppers: ShadowEntry[] = [];
  readonly magicEntries: ShadowEntry[] = [];
  readonly #slots: readonly OutOfSyncSlot[];
  readonly #snapshots: ReadonlyMap<number, number>;
  readonly #byHead = new Map<number, ShadowInfo>();
  readonly #byBack = new Map<number, ShadowInfo[]>();
  readonly #pages = new Set<number>();
  readonly #leafCounts: Int32Array;
  readonly #writableCounts: Int32Array;
  readonly #parentCounts: Int32Array;

  constructor(machine: Machine) {
    this.machine = machine;
    this.memory = machine.memory;
    this.frames = machine.frames;
    const { frames } = machine.frames;
    this.#slots = slotsInUse(machine);
    this.#snapshots = new Map(this.#slots.map(({ page, snapshot }) => [page, snapshot]));
    this.#leafCounts = new Int32Array(frames);
    this.#writableCounts = new Int32Array(frames);
    this.#parentCounts = new Int32Array(frames);
    const shadows: ShadowInfo[] = [];
    const guestPages: Mfn[] = [];
    for (let number = 1; number < frames; number++) {
      const shadow = shadowAt(this.frames, mfn(number));
      if (shadow !== undefined) shadows.push(shadow);
      else if (isOfGuest(this.frames.use(mfn(number)))) guestPages.push(mfn(number));
    }
    this.shadows = shadows;
    this.guestPages = guestPages;
    for (const shadow of shadows) this.#add(shadow);
    this.#count();
  }

  allShadows(): Iterable<ShadowInfo> {
    return this.shadows;
  }

  shadowWith(head: number): ShadowInfo | undefined {
    return this.#byHead.get(head);
  }

  isShadowPage(frame: number): boolean {
    return this.#pages.has(frame);
  }

  outOfSyncSlots(): readonly OutOfSyncSlot[] {
    return this.#slots;
  }

  shadowsOf(back: number): readonly ShadowInfo[] {
    return this.#byBack.get(back) ?? NONE;
  }

  leafCount(frame: number): number {
    return this.#leafCounts[frame] ?? 0;
  }

  writableCount(frame: number): number {
    return this.#writableCounts[frame] ?? 0;
  }

  parentCount(head: number): number {
    return this.#parentCounts[head] ?? 0;
  }

  *vcpuAreas(): Iterable<{ readonly vcpu: number; readonly area: number }> {
    for (let vcpu = 0; vcpu < this.machine.config.vcpus; vcpu++)
      yield { vcpu, area: vcpuArea(this.machine.layout, vcpuId(vcpu)) };
  }

  /** Valid TLB entries of vCPUs that are parked: of others the TLB counts as empty. */
  tlbLines(): TlbLine[] {
    return this.#parked().flatMap((vcpu) => tlbLinesOf(this.machine, vcpu));
  }

  cachedTables(): { readonly vcpu: number; readonly table: Mfn }[] {
    return this.#parked().flatMap((vcpu) => cachedTablesOf(this.machine, vcpu));
  }

  #parked(): number[] {
    const parked: number[] = [];
    for (const { vcpu, area } of this.vcpuAreas())
      if (this.memory.loadWord(area + VcpuCell.state) === VcpuState.parked && isInForce(this.memory, area))
        parked.push(vcpu);
    return parked;
  }

  #add(shadow: ShadowInfo): void {
    this.#byHead.set(shadow.head, shadow);
    const others = this.#byBack.get(shadow.back);
    if (others === undefined) this.#byBack.set(shadow.back, [shadow]);
    else others.push(shadow);
    for (const [position, page] of shadow.pages.entries()) {
      this.#pages.add(page);
      const source = shadow.level === 1 ? (this.#snapshots.get(shadow.back) ?? shadow.back) : shadow.back;
      collectEntries(this.memory.view, shadow, position, source, this);
    }
  }

  #count(): void {
    for (const { low, frame } of this.leaves) {
      increment(this.#leafCounts, frame);
      if ((low & WRITABLE) !== 0) increment(this.#writableCounts, frame);
    }
    for (const { frame } of this.uppers) increment(this.#parentCounts, frame);
  }
}

/** Counts one more. What names a frame that does not exist is for others to find. */
function increment(counts: Int32Array, frame: number): void {
  if (frame < counts.length) counts[frame] = (counts[frame] ?? 0) + 1;
}
