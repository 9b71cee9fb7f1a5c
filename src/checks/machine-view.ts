/**
 * A machine at rest, laid out for auditing: every shadow, every entry, every TLB. It reads the same memory as the model,
 * but finds shadows by scanning the pool, not by asking the tables that it audits.
 */
import { FrameUse } from "../memory/frame-table.ts";
import type { FrameTable } from "../memory/frame-table.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { mfn, vcpuId } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { VcpuCell, VcpuState, vcpuArea } from "../memory/vcpu-area.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { isInForce } from "../machine/flush.ts";
import { Tlb } from "../machine/tlb.ts";
import { StructureCache } from "../machine/structure-cache.ts";
import type { Machine } from "../hypervisor/machine.ts";
import { isMagic, isNotPresentMagic } from "../hypervisor/shadow/shadow-entry.ts";
import {
  ShadowType,
  formatOfType,
  isFakeLeafType,
  isLeafType,
  levelOfType,
  pagesOfType,
} from "../hypervisor/shadow/shadow-type.ts";

const HEAD = 2;
const PRESENT = 1;
const ENTRIES = 512;

/** One shadow. */
export interface ShadowInfo {
  readonly head: Mfn;
  readonly type: number;
  readonly level: number;
  /** Guest format that it belongs to: 2, 3 or 4. */
  readonly format: number;
  /** The guest page it shadows, or the gfn of the superpage. */
  readonly back: number;
  readonly pages: readonly Mfn[];
}

/** One present entry of a shadow, with the guest's. */
export interface ShadowEntry {
  readonly shadow: ShadowInfo;
  readonly cell: number;
  /** Index of the guest entry that it stands for; for fl1 the page within the superpage. */
  readonly index: number;
  readonly low: number;
  readonly high: number;
  /** The frame it names. Means nothing for magic entries. */
  readonly frame: Mfn;
  /** The guest entry that it stands for. An fl1's has none: its entries stand for a present one that grants all. */
  readonly guestLow: number;
  readonly guestHigh: number;
}

interface Found {
  readonly leaves: ShadowEntry[];
  readonly uppers: ShadowEntry[];
  readonly magicEntries: ShadowEntry[];
}

/** One vCPU's cached translations. */
export interface TlbLine {
  readonly vcpu: number;
  readonly page: string;
  readonly frame: Mfn;
  readonly flags: number;
}

/** A machine, all of whose vCPUs are parked, halted or ended. Everything is read once, when it is made. */
export class MachineView {
  readonly machine: Machine;
  readonly memory: SharedMemory;
  readonly frames: FrameTable;
  readonly shadows: readonly ShadowInfo[];
  /** Every leaf that maps a frame. */
  readonly leaves: readonly ShadowEntry[];
  /** Every upper entry that points to a table; of 2-on-3 level 2 shadows only the even slots, which own the references. */
  readonly uppers: readonly ShadowEntry[];
  /** Every magic entry, less those that rightly say "not present": they are many. */
  readonly magicEntries: readonly ShadowEntry[];
  readonly #words: Int32Array;

  constructor(machine: Machine) {
    this.machine = machine;
    this.memory = machine.memory;
    this.frames = machine.frames;
    this.#words = machine.memory.view;
    this.shadows = this.#findShadows();
    const found = { leaves: [], uppers: [], magicEntries: [] };
    for (const shadow of this.shadows) this.#collect(shadow, found);
    this.leaves = found.leaves;
    this.uppers = found.uppers;
    this.magicEntries = found.magicEntries;
  }

  /** Control cells of every vCPU, by number. */
  *vcpuAreas(): Iterable<{ readonly vcpu: number; readonly area: number }> {
    for (let vcpu = 0; vcpu < this.machine.config.vcpus; vcpu++)
      yield { vcpu, area: vcpuArea(this.machine.layout, vcpuId(vcpu)) };
  }

  /** Valid TLB entries of vCPUs that are parked: of others the TLB counts as empty. */
  tlbLines(): TlbLine[] {
    const lines: TlbLine[] = [];
    for (const vcpu of this.#parked()) {
      new Tlb(this.memory, this.machine.layout, vcpuId(vcpu)).forEach((tagLow, tagHigh, frame, flags) => {
        const page = (tagHigh * 2 ** 32 + (tagLow >>> 0)).toString(16);
        lines.push({ vcpu, page, frame, flags });
      });
    }
    return lines;
  }

  /** Tables that paging-structure caches of parked vCPUs point to. */
  cachedTables(): { readonly vcpu: number; readonly table: Mfn }[] {
    const tables: { vcpu: number; table: Mfn }[] = [];
    for (const vcpu of this.#parked())
      new StructureCache(this.memory, this.machine.layout, vcpuId(vcpu)).forEach((table) => {
        tables.push({ vcpu, table });
      });
    return tables;
  }

  *#parked(): Iterable<number> {
    for (const { vcpu, area } of this.vcpuAreas())
      if (this.memory.loadWord(area + VcpuCell.state) === VcpuState.parked && isInForce(this.memory, area))
        yield vcpu;
  }

  /** Sorts the present entries of a shadow. Plain reads, for nobody else runs: this is most of an audit's time. */
  #collect(shadow: ShadowInfo, found: Found): void {
    const words = this.#words;
    const { type, pages, format, back } = shadow;
    const isLeaf = isLeafType(type);
    const hasGuestEntry = !isFakeLeafType(type);
    const step = type === ShadowType.l2_32 ? 2 : 1;
    const guestWords = format === 2 ? 1 : 2;
    const table = back << 10;
    for (const [position, page] of pages.entries()) {
      for (let slot = 0; slot < ENTRIES; slot += step) {
        const cell = (page << 10) | (slot << 1);
        const low = words[cell] ?? 0;
        if ((low & PRESENT) === 0) continue;
        const high = words[cell + 1] ?? 0;
        const index = (position * ENTRIES + slot) / step;
        const guestCell = table | (index * guestWords);
        const guestLow = hasGuestEntry ? (words[guestCell] ?? 0) : PRESENT;
        const guestHigh = hasGuestEntry && format !== 2 ? (words[guestCell + 1] ?? 0) : 0;
        const magic = isLeaf && isMagic(low, high);
        if (magic && isNotPresentMagic(low) && (guestLow & PRESENT) === 0) continue;
        const frame = mfn(frameOfEntry(low, high));
        const entry = { shadow, cell, index, low, high, frame, guestLow, guestHigh };
        if (magic) found.magicEntries.push(entry);
        else if (isLeaf) found.leaves.push(entry);
        else found.uppers.push(entry);
      }
    }
  }

  #findShadows(): ShadowInfo[] {
    const found: ShadowInfo[] = [];
    for (let number = 1; number < this.frames.frames; number++) {
      const head = mfn(number);
      const type = this.frames.type(head);
      if (this.frames.use(head) !== FrameUse.pool || type === 0 || type >= ShadowType.p2m_table) continue;
      if ((this.frames.state(head) & HEAD) === 0) continue;
      const pages: Mfn[] = [];
      let page = head;
      while (page !== 0 && pages.length < pagesOfType(type)) {
        pages.push(page);
        page = this.frames.sibling(page);
      }
      const back = this.frames.back(head);
      found.push({ head, type, level: levelOfType(type), format: formatOfType(type), back, pages });
    }
    return found;
  }
}

/** A number in hexadecimal with its prefix. */
export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
