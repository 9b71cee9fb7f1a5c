/**
 * Which translations a processor may use, by the architecture alone: an access is legal if the guest's tables, each entry
 * as it was at some time since the vCPU last flushed, lead to the frame with the rights that the access needs, and if the
 * frame is where the p2m has the page now. The hypervisor's flushes are none of the guest's, and shadows do not matter.
 */
import { permits, narrowRights, Rights } from "../machine/access-rights.ts";
import { Cr4 } from "../machine/control-registers.ts";
import { frameOfEntry } from "../machine/entry.ts";
import type { Machine } from "../hypervisor/machine.ts";
import { GuestState } from "../hypervisor/guest-state.ts";
import {
  P2mType,
  frameInP2mEntry,
  isAbsentEntry,
  ramInP2mEntry,
  typeInP2mEntry,
} from "../hypervisor/p2m-type.ts";
import { NO_MFN, mfn, vcpuId } from "../memory/units.ts";
import { VcpuCell, vcpuArea } from "../memory/vcpu-area.ts";
import type { WriteLog } from "./write-log.ts";

const PRESENT = 1;
const WRITE = 2;
const ACCESSED = 32;
const DIRTY = 64;
const PAGE_SIZE = 128;
const GLOBAL = 256;
const TWO_LEVEL = 2;
const PAE = 3;
const NOW = 0x7fff_ffff;
const WHOLE_TABLE = 0x3ff;
/** In place of a frame: the page is with the pager. */
const AWAY = -2;

/** An access of a vCPU to a page: bits of an error code, and EFLAGS.AC. */
export interface PageAccess {
  readonly low: number;
  readonly high: number;
  readonly access: number;
  readonly alignmentCheck: boolean;
}

/** The flushes of one vCPU, as its guest asked for them: the step at which each began. */
class Flushes {
  /** Of everything but global pages. */
  local = 0;
  /** Of single pages since, by the low and high half of their numbers. */
  readonly pages = new Map<number, number>();
}

/** Judges accesses of vCPUs. */
export class LegalTranslations {
  readonly #machine: Machine;
  readonly #log: WriteLog;
  readonly #areas: readonly number[];
  readonly #guests: readonly GuestState[];
  readonly #flushes: Flushes[];
  /** The access at hand. */
  #low = 0;
  #high = 0;
  #access = 0;
  #mode = 0;
  #frame = 0;
  #format = 0;
  #hasLargePages = false;
  #since = 0;
  #isGlobalOnly = false;

  constructor(machine: Machine, log: WriteLog) {
    this.#machine = machine;
    this.#log = log;
    const numbers = Array.from({ length: machine.config.vcpus }, (_, vcpu) => vcpu);
    this.#areas = numbers.map((vcpu) => vcpuArea(machine.layout, vcpuId(vcpu)));
    this.#guests = numbers.map(
      (vcpu) =>
        new GuestState(
          machine.memory,
          vcpuArea(machine.layout, vcpuId(vcpu)),
          machine.p2m,
          machine.config.paging,
        ),
    );
    this.#flushes = numbers.map(() => new Flushes());
  }

  /** A new execution begins. */
  begin(): void {
    for (const flushes of this.#flushes) {
      flushes.local = 0;
      flushes.pages.clear();
    }
  }

  /** The guest has loaded CR3, in an operation that began at a step. */
  flushed(vcpu: number, step: number): void {
    const flushes = this.#flushes[vcpu];
    if (flushes !== undefined) flushes.local = step;
  }

  /** The guest has invalidated one page. */
  invalidated(vcpu: number, low: number, high: number, step: number): void {
    this.#flushes[vcpu]?.pages.set(pageKey(low, high), step);
  }

  /** Whether a vCPU may now access a page in a frame. */
  isLegal(vcpu: number, frame: number, { low, high, access, alignmentCheck }: PageAccess): boolean {
    const guest = this.#guests[vcpu];
    const flushes = this.#flushes[vcpu];
    if (guest === undefined || flushes === undefined) return true;
    this.#low = low;
    this.#high = high;
    this.#access = access;
    this.#frame = frame;
    this.#format = guest.format();
    this.#mode = guest.mode(alignmentCheck);
    this.#hasLargePages = guest.hasLargePages();
    this.#since = NOW;
    this.#isGlobalOnly = false;
    // Nearly always it is what the tables say now.
    if (this.#leadsThere(vcpu)) return true;
    const ofPage = flushes.pages.size === 0 ? 0 : (flushes.pages.get(pageKey(low, high)) ?? 0);
    this.#since = Math.max(flushes.local, ofPage);
    if (this.#leadsThere(vcpu)) return true;
    // A global page outlives MOV CR3.
    if ((guest.register(VcpuCell.cr4) & Cr4.pge) === 0) return false;
    this.#since = ofPage;
    this.#isGlobalOnly = true;
    return this.#leadsThere(vcpu);
  }

  /** What the tables say now: the frame of a page, -1 when they map none. For messages. */
  frameNow(vcpu: number, low: number, high: number): number {
    const guest = this.#guests[vcpu];
    if (guest === undefined) return -1;
    guest.observe(low, high, 0, true);
    return guest.observer.leafLevel === 0 ? -1 : this.#machine.p2m.frameOf(guest.observer.frame);
  }

  #leadsThere(vcpu: number): boolean {
    const { view } = this.#machine.memory;
    const area = this.#areas[vcpu] ?? 0;
    if (this.#format !== PAE)
      return this.#below(this.#format, this.#guests[vcpu]?.rootFrame() ?? 0, Rights.all);
    // Registers, that MOV CR3 has loaded: they have no history.
    const cell = area + VcpuCell.guestPdptes + 2 * (this.#low >>> 30);
    const low = view[cell] ?? 0;
    if ((low & PRESENT) === 0) return false;
    return this.#below(2, this.#tableOf(frameOfEntry(low, view[cell + 1] ?? 0)), Rights.all);
  }

  /**
   * The frame in which a guest table can be read, -1 for none. A page that the pager has is there as far as the guest can
   * tell, and what was read from it before may be in use: AWAY.
   */
  #tableOf(gfn: number): number {
    const entry = this.#machine.p2m.entryOf(gfn);
    const isWithPager = isAbsentEntry(entry) && typeInP2mEntry(entry) !== P2mType.populateOnDemand;
    if (!isWithPager) return ramInP2mEntry(entry);
    const frame = frameInP2mEntry(entry);
    return frame === NO_MFN ? AWAY : frame;
  }

  /** Whether some value that the entry of a level has had leads there. */
  #below(level: number, table: number, rights: number): boolean {
    if (table === AWAY) return this.#isMemory();
    if (table <= 0) return false;
    const words = this.#format === TWO_LEVEL ? 1 : 2;
    const slot =
      this.#format === TWO_LEVEL ? wordSlot(level, this.#low) : entrySlot(level, this.#low, this.#high);
    const cell = (table << 10) | ((slot * words) & WHOLE_TABLE);
    if (this.#since === NOW) {
      const { view } = this.#machine.memory;
      return this.#through(level, view[cell] ?? 0, words === 2 ? (view[cell + 1] ?? 0) : 0, rights);
    }
    return this.#log.some(cell, words, this.#since, (low, high) => this.#through(level, low, high, rights));
  }

  #through(level: number, low: number, high: number, above: number): boolean {
    if ((low & (PRESENT | ACCESSED)) !== (PRESENT | ACCESSED)) return false;
    const rights = narrowRights(above, low, high);
    const isLarge = level === 2 && (low & PAGE_SIZE) !== 0 && this.#hasLargePages;
    if (level !== 1 && !isLarge)
      return this.#below(level - 1, this.#tableOf(frameOfEntry(low, high)), rights);
    if ((this.#access & WRITE) !== 0 && (low & DIRTY) === 0) return false;
    if (this.#isGlobalOnly && (low & GLOBAL) === 0) return false;
    if (!permits(rights, this.#access, this.#mode)) return false;
    let gfn = frameOfEntry(low, high);
    if (isLarge) {
      const pages = this.#format === TWO_LEVEL ? 1024 : 512;
      gfn = (gfn & -pages) | ((this.#low >>> 12) & (pages - 1));
    }
    return this.#machine.p2m.mappedFrameOf(gfn) === this.#frame;
  }

  /** All that can be said of a translation through a table that nobody can read: that it leads to memory of the guest. */
  #isMemory(): boolean {
    const { frames, p2m } = this.#machine;
    return p2m.frameOf(frames.back(mfn(this.#frame))) === this.#frame;
  }
}

function pageKey(low: number, high: number): number {
  return (low >>> 12) + (high & 0xffff) * 2 ** 20;
}

function wordSlot(level: number, low: number): number {
  return level === 1 ? (low >>> 12) & 0x3ff : low >>> 22;
}

function entrySlot(level: number, low: number, high: number): number {
  if (level === 1) return (low >>> 12) & 0x1ff;
  if (level === 2) return (low >>> 21) & 0x1ff;
  if (level === 3) return ((low >>> 30) | (high << 2)) & 0x1ff;
  return (high >>> 7) & 0x1ff;
}
