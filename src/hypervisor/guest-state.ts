/**
 * The guest's side of a vCPU as the hypervisor reads it: control registers, the format of its tables, and its walk.
 * The walk sets A and D only after it succeeded (spec 4.1), and takes no lock itself: its callers do.
 */
import { Cr0, Cr4, Efer } from "../machine/control-registers.ts";
import { Rights } from "../machine/access-rights.ts";
import { AccessedPolicy, WalkMode, Walker } from "../machine/walker.ts";
import type { FrameMap } from "../machine/walker.ts";
import {
  hasReserved4mBits,
  hasReservedLargeBits,
  hasReservedPdpteBits,
  reservedHighBits,
} from "../machine/reserved-bits.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Cell } from "../memory/units.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import type { PagingMode } from "./machine-config.ts";
import type { P2m } from "./p2m.ts";
import { isAbsentEntry, ramInP2mEntry } from "./p2m-type.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const CR0_WP = Cr0.wp;
const CR4_PSE = Cr4.pse;
const CR4_SMAP = Cr4.smap;
const CR4_SMEP = Cr4.smep;
const RIGHTS_ALL = Rights.all;
const CELL_CR0 = VcpuCell.cr0;
const CELL_CR3_HIGH = VcpuCell.cr3High;
const CELL_CR3_LOW = VcpuCell.cr3Low;
const CELL_CR4 = VcpuCell.cr4;
const CELL_EFER = VcpuCell.efer;
const CELL_GUEST_LEVELS = VcpuCell.guestLevels;
const CELL_GUEST_PDPTES = VcpuCell.guestPdptes;
const CELL_GUEST_TABLE = VcpuCell.guestTable;
const CELL_PAGING_ON = VcpuCell.pagingOn;
const MODE_AC = WalkMode.ac;
const MODE_NXE = WalkMode.nxe;
const MODE_PSE = WalkMode.pse;
const MODE_SMAP = WalkMode.smap;
const MODE_SMEP = WalkMode.smep;
const MODE_WP = WalkMode.wp;

/** Names the root, which is found out before the walk: in shadow mode when CR3 was loaded (spec 4.1). */
const ROOT_TABLE = -2;
const PAGE_SIZE = 128;

/** Maps the tables of a guest walk: the root to the frame it was found in, others through the p2m. */
class GuestTables implements FrameMap {
  root = -1;
  /** Gfn of a table that has to be brought back before it can be read, -1 when the walk met none. */
  absent = -1;
  readonly #p2m: P2m;

  constructor(p2m: P2m) {
    this.#p2m = p2m;
  }

  frameOf(frame: number): number {
    if (frame === ROOT_TABLE) return this.root;
    const entry = this.#p2m.entryOf(frame);
    if (isAbsentEntry(entry)) this.absent = frame;
    return ramInP2mEntry(entry);
  }

  refusesMark(): boolean {
    return false;
  }
}

/** One vCPU's guest registers and walks. */
export class GuestState {
  /** The walk of the page fault at hand: sets A and D on success. */
  readonly walker: Walker;
  /** Walks that leave no trace, for checks and reports. */
  readonly observer: Walker;
  readonly #memory: SharedMemory;
  readonly #area: Cell;
  readonly #tables: GuestTables;
  readonly #p2m: P2m;
  readonly #followsCr3: boolean;

  constructor(memory: SharedMemory, area: Cell, p2m: P2m, mode: PagingMode) {
    this.#p2m = p2m;
    this.#followsCr3 = mode === "hap";
    this.#memory = memory;
    this.#area = area;
    this.#tables = new GuestTables(p2m);
    this.walker = new Walker(memory, this.#tables, AccessedPolicy.onSuccess);
    this.observer = new Walker(memory, this.#tables, AccessedPolicy.none);
  }

  /** A control register, by `VcpuCell`. */
  register(offset: number): number {
    return this.#memory.loadPrivate(this.#area + offset);
  }

  /** Levels of the tables in use: 2 (also with paging off, on the identity table), 3 or 4. */
  format(): number {
    return this.register(CELL_GUEST_LEVELS);
  }

  /** Whether the guest has paging on. */
  hasPaging(): boolean {
    return this.register(CELL_PAGING_ON) !== 0;
  }

  /** Whether PS means something in a level 2 entry of a 2-level guest (spec 1.5). */
  hasLargePages(): boolean {
    return !this.hasPaging() || this.format() !== 2 || (this.register(CELL_CR4) & CR4_PSE) !== 0;
  }

  /** Whether bit 63 of an entry forbids execution. */
  hasNoExecute(): boolean {
    return (this.register(CELL_EFER) & Efer.nxe) !== 0;
  }

  /** Whether error codes tell fetches apart. */
  reportsFetches(): boolean {
    if ((this.register(CELL_CR4) & CR4_SMEP) !== 0) return true;
    return this.format() !== 2 && this.hasNoExecute();
  }

  /** `WalkMode` bits of the guest's registers. Shadow mode knows neither PSE-36 nor 1 GiB pages (spec 1.5). */
  mode(alignmentCheck: boolean): number {
    // With paging off the guest walks the identity table, and neither SMEP nor SMAP exists.
    const cr4 = this.hasPaging() ? this.register(CELL_CR4) : 0;
    const wp = (this.register(CELL_CR0) & CR0_WP) === 0 ? 0 : MODE_WP;
    return (
      wp |
      ((cr4 & CR4_SMEP) === 0 ? 0 : MODE_SMEP) |
      ((cr4 & CR4_SMAP) === 0 ? 0 : MODE_SMAP) |
      (alignmentCheck ? MODE_AC : 0) |
      (this.hasNoExecute() ? MODE_NXE : 0) |
      (this.hasLargePages() ? MODE_PSE : 0)
    );
  }

  /**
   * The frame of the root, -1 without one. Shadow mode translated it when CR3 was loaded; in hap hardware finds it through
   * the p2m at each walk, and so does this.
   */
  rootFrame(): number {
    const table = this.register(CELL_GUEST_TABLE);
    if (table !== 0) return table;
    return this.#followsCr3 ? this.#p2m.frameOf(this.rootGfn()) : -1;
  }

  /** The guest frame that CR3 names. Outside long mode it has 32 bits; above is what a 64-bit kernel left there. */
  rootGfn(): number {
    const high = this.format() === 4 ? this.register(CELL_CR3_HIGH) & 0xff : 0;
    return (this.register(CELL_CR3_LOW) >>> 12) | (high << 20);
  }

  /** Walks the guest's tables for an access; true when it is permitted. `walker` has the answer. */
  walk(low: number, high: number, access: number, alignmentCheck: boolean): boolean {
    return this.#walkWith(this.walker, low, high, access, alignmentCheck);
  }

  /** The same without side effects; `observer` has the answer. */
  observe(low: number, high: number, access: number, alignmentCheck: boolean): boolean {
    return this.#walkWith(this.observer, low, high, access, alignmentCheck);
  }

  /** After a walk that was refused: gfn of a table on the way that has to be brought back first, -1 for none. */
  absentTable(): number {
    return this.#tables.absent;
  }

  /** Whether a present guest entry has reserved bits set, in tables of the given format. */
  isReserved(format: number, level: number, low: number, high: number): boolean {
    const mode = this.mode(false);
    const isLarge = level > 1 && (low & PAGE_SIZE) !== 0;
    if (format === 2) return isLarge && this.hasLargePages() && hasReserved4mBits(low, mode);
    if (format === 3 && level === 3) return hasReservedPdpteBits(low, high);
    if ((high & reservedHighBits(format, mode)) !== 0) return true;
    return isLarge && hasReservedLargeBits(level, low, mode);
  }

  #walkWith(walker: Walker, low: number, high: number, access: number, alignmentCheck: boolean): boolean {
    const format = this.format();
    this.#tables.absent = -1;
    this.#tables.root = this.rootFrame();
    // Where hardware finds the root through the p2m, a root that is away is met like any other table.
    if (this.#tables.root < 0 && this.#followsCr3) this.#tables.root = this.#tables.frameOf(this.rootGfn());
    if (format === 3) this.#loadPdptes(walker);
    const mode = this.mode(alignmentCheck);
    return walker.walk(format, format, ROOT_TABLE, RIGHTS_ALL, low, high, access, mode);
  }

  /** PAE walks start from the snapshot that the last CR3 load took, never from memory (spec 9.2). */
  #loadPdptes(walker: Walker): void {
    const cells = this.#area + CELL_GUEST_PDPTES;
    for (let slot = 0; slot < 4; slot++) {
      walker.pdpteLow[slot] = this.#memory.loadEntry(cells + 2 * slot);
      walker.pdpteHigh[slot] = this.#memory.high;
    }
  }
}
