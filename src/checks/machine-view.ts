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
import { isMagic } from "../hypervisor/shadow/shadow-entry.ts";
import {
  ShadowType,
  formatOfType,
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

/** One entry of a shadow that is not zero, with the guest's index. */
export interface ShadowEntry {
  readonly shadow: ShadowInfo;
  readonly cell: number;
  /** Index of the guest entry that it stands for; for fl1 the page within the superpage. */
  readonly index: number;
  readonly low: number;
  readonly high: number;
  readonly isPresent: boolean;
  readonly isMagic: boolean;
  /** The frame it names. Means nothing for magic entries. */
  readonly frame: Mfn;
}

/** One vCPU's cached translations. */
export interface TlbLine {
  readonly vcpu: number;
  readonly page: string;
  readonly frame: Mfn;
  readonly flags: number;
}

/** A machine, all of whose vCPUs are parked, halted or ended. */
export class MachineView {
  readonly machine: Machine;
  readonly memory: SharedMemory;
  readonly frames: FrameTable;
  readonly shadows: readonly ShadowInfo[];

  constructor(machine: Machine) {
    this.machine = machine;
    this.memory = machine.memory;
    this.frames = machine.frames;
    this.shadows = this.#findShadows();
  }

  /** The shadow of a frame as a type, if there is one. */
  shadowOf(back: number, type: number): ShadowInfo | undefined {
    return this.shadows.find((shadow) => shadow.back === back && shadow.type === type);
  }

  /** Every entry of a shadow that is not zero; of 2-on-3 level 2 shadows only the even slots, which own the references. */
  *entriesOf(shadow: ShadowInfo): Iterable<ShadowEntry> {
    const step = shadow.type === ShadowType.l2_32 ? 2 : 1;
    for (const [position, page] of shadow.pages.entries()) {
      for (let slot = 0; slot < ENTRIES; slot += step) {
        const cell = (page << 10) | (slot << 1);
        const low = this.memory.loadEntry(cell);
        const { high } = this.memory;
        if (low === 0 && high === 0) continue;
        const index = (position * ENTRIES + slot) / step;
        const magic = isMagic(low, high);
        const isPresent = (low & PRESENT) !== 0;
        const frame = mfn(frameOfEntry(low, high));
        yield { shadow, cell, index, low, high, isPresent, isMagic: magic, frame };
      }
    }
  }

  /** Every present leaf that maps a frame. */
  *leaves(): Iterable<ShadowEntry> {
    for (const shadow of this.shadows) {
      if (!isLeafType(shadow.type)) continue;
      for (const entry of this.entriesOf(shadow)) if (entry.isPresent && !entry.isMagic) yield entry;
    }
  }

  /** Every present upper entry. */
  *uppers(): Iterable<ShadowEntry> {
    for (const shadow of this.shadows) {
      if (isLeafType(shadow.type)) continue;
      for (const entry of this.entriesOf(shadow)) if (entry.isPresent) yield entry;
    }
  }

  /** The guest entry that a shadow entry stands for, as low and high half. */
  guestEntry(entry: ShadowEntry): { readonly low: number; readonly high: number } {
    const table = entry.shadow.back << 10;
    if (entry.shadow.format === 2) return { low: this.memory.loadWord(table | entry.index), high: 0 };
    const low = this.memory.loadEntry(table | (entry.index << 1));
    return { low, high: this.memory.high };
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
