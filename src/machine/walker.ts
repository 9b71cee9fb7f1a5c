/**
 * The one pagetable walker of Umbra. The simulated hardware walks shadow tables with it, the hypervisor walks guest
 * tables with it (spec 4.1), and `umbra conform` holds that same class against recorded answers.
 *
 * A walk takes no lock: anybody may rewrite the tables at any step, as on real hardware. So an answer is true of the
 * entries as the walk read them, one atomic access each, and not of now.
 */
import type { SharedMemory } from "../memory/shared-memory.ts";
import { narrowRights, permits } from "./access-rights.ts";
import { frameOfEntry } from "./entry.ts";
import {
  hasReserved4mBits,
  hasReservedLargeBits,
  hasReservedPdpteBits,
  reservedHighBits,
} from "./reserved-bits.ts";

const TWO_LEVEL = 2;
const PAE = 3;
const TOP_LEVEL = 4;

const MODE_SMEP = 2;
const MODE_NXE = 16;
const MODE_PSE = 32;

const PRESENT = 1;
const WRITE = 2;
const BY_USER = 4;
const RESERVED = 8;
const FETCH = 16;

const ACCESSED = 32;
const DIRTY = 64;
const PAGE_SIZE = 128;

const AS_PASSED = 0;
const ON_SUCCESS = 1;

/** No fault: not a set of error code bits. */
const PASSED = -1;

/** Where frames lie that table entries name: a p2m for guest tables, the identity for shadow tables. */
export interface FrameMap {
  /** The machine frame of a frame number of 28 bits; -1 when it is not memory. */
  frameOf(frame: number): number;
  /**
   * Whether A and D may not be set in the table that was asked for last, by a walk that sets them as it passes. Only p2m
   * tables refuse that; then the walk goes on as if they were set, and whoever asked for it throws the result away.
   */
  refusesMark(): boolean;
}

/** Formats of pagetables (SDM vol. 3A, 4.1.1). The value is the number of levels. */
export const WalkFormat = { twoLevel: TWO_LEVEL, pae: PAE, fourLevel: TOP_LEVEL } as const;

/** Bits of a walk's `mode`: what control registers and the processor's features say. */
export const WalkMode = {
  /** CR0.WP: supervisor writes heed R/W. */
  wp: 1,
  /** CR4.SMEP: no supervisor fetches from user pages. */
  smep: MODE_SMEP,
  /** CR4.SMAP: no supervisor data accesses to user pages, unless `ac`. */
  smap: 4,
  /** EFLAGS.AC: lifts SMAP for accesses that are not implicit. */
  ac: 8,
  /** EFER.NXE: bit 63 is XD, else reserved. Means nothing to 2-level tables. */
  nxe: MODE_NXE,
  /** CR4.PSE: 4 MiB pages exist in 2-level tables, else PS is ignored there. Other formats have large pages anyway. */
  pse: MODE_PSE,
  /** PSE-36: bits 13 to 20 of a 4 MiB entry are address bits 32 to 39, else bits 13 to 21 are reserved. */
  pse36: 64,
  /** 1 GiB pages exist, else PS in a level 3 entry is reserved. */
  gigabyte: 128,
} as const;

/** When a walk sets A and D bits in memory. */
export const AccessedPolicy = {
  /**
   * As hardware does: A of each entry that leads on, as the walk passes it, even if it is refused further down; A and
   * D of the leaf when all has passed. An entry that changes under the walk is read again.
   */
  asPassed: AS_PASSED,
  /** As Xen's guest walk does (spec 4.1 step 6): leaf first, then upward, and only after everything has passed. */
  onSuccess: ON_SUCCESS,
  /** Never: memory is only read. For checks. */
  none: 2,
} as const;

/** Walks pagetables. Everything public but the PDPTEs is an answer, valid until the next walk. */
export class Walker {
  /** The root of PAE tables, put here by the caller: registers, or a snapshot; never read from memory. */
  readonly pdpteLow = new Int32Array(4);
  readonly pdpteHigh = new Int32Array(4);

  /** The page fault's error code after a refused walk, 0 after one that passed. */
  errorCode = 0;
  /** The level at which a refused walk stopped, 0 after one that passed. */
  stopLevel = 0;
  /** Level of the entry that maps the page, 1 to 3; 0 when no leaf was reached. Only with a leaf do these four hold: */
  leafLevel = 0;
  /** Frame number of the 4 KiB page addressed, its place in a large page included. */
  frame = 0;
  /** Log2 of the page size: 12, 21, 22 or 30. */
  pageShift = 0;
  /** `Rights` accumulated over all levels. PAE level 3 entries have no part in them. */
  rights = 0;
  /** 1 if the leaf has D after the walk. */
  dirty = 0;
  /** Bit n is set if the walk changed the level n entry in memory: that table's page is now dirty (spec 4.1 step 6). */
  writtenLevels = 0;
  /** Bit n is set if the level n entry was changed by somebody else before the walk could set A or D in it. */
  lostLevels = 0;

  /** The entries by level, 1 to 4, as the walk used them, with the A and D that it set; 0 for levels not visited. */
  readonly entryLow = new Int32Array(TOP_LEVEL + 1);
  readonly entryHigh = new Int32Array(TOP_LEVEL + 1);
  /** Where the entries lie; 0 for levels not visited and for PDPTEs. */
  readonly entryCell = new Int32Array(TOP_LEVEL + 1);
  /** Frame numbers of the tables, and where the frame map put them (-1: not memory, the walk stopped there). */
  readonly tableFrame = new Int32Array(TOP_LEVEL + 1);
  readonly tableMfn = new Int32Array(TOP_LEVEL + 1);

  readonly #memory: SharedMemory;
  readonly #frames: FrameMap;
  readonly #policy: number;
  /** The walk at hand. */
  #format = 0;
  #low = 0;
  #high = 0;
  #mode = 0;

  constructor(memory: SharedMemory, frames: FrameMap, policy: number) {
    this.#memory = memory;
    this.#frames = frames;
    this.#policy = policy;
  }

  /**
   * Translates the linear address `high:low` for an access; true when it is permitted.
   *
   * @param format A `WalkFormat`.
   * @param level The level of `table`, with `rights` already accumulated above it: the top level and `Rights.all`,
   *   or what a paging-structure cache holds.
   * @param table Frame number of the table to start in. Ignored for PAE level 3, which is in the PDPTEs.
   * @param access `FaultCode` bits: write, user, fetch, implicit.
   * @param mode `WalkMode` bits.
   */
  walk(
    format: number,
    level: number,
    table: number,
    rights: number,
    low: number,
    high: number,
    access: number,
    mode: number,
  ): boolean {
    this.#format = format;
    this.#low = low;
    this.#high = high;
    this.#mode = mode;
    this.writtenLevels = 0;
    this.lostLevels = 0;
    this.#forget(level + 1, TOP_LEVEL);
    const reported = reportedAccess(format, access, mode);
    for (;;) {
      const refusal =
        format === TWO_LEVEL
          ? this.#descendWords(level, table, rights)
          : this.#descendEntries(level, table, rights);
      if (refusal !== PASSED) return this.#refuse(refusal | reported);
      const leaf = this.leafLevel;
      if (!permits(this.rights, access, mode)) {
        this.stopLevel = leaf;
        return this.#refuse(PRESENT | reported);
      }
      const bits = (access & WRITE) === 0 ? ACCESSED : ACCESSED | DIRTY;
      if (this.#policy === ON_SUCCESS) this.#markUpward(leaf, level, bits);
      else if (this.#policy === AS_PASSED && !this.#mark(leaf, bits)) continue;
      this.dirty = ((this.entryLow[leaf] ?? 0) & DIRTY) === 0 ? 0 : 1;
      this.errorCode = 0;
      this.stopLevel = 0;
      return true;
    }
  }

  /**
   * Goes down through tables of 8-byte entries to the leaf. Answers `PASSED`, or the P and RSVD bits of the fault that
   * stopped it at `stopLevel`.
   */
  #descendEntries(startLevel: number, startTable: number, startRights: number): number {
    const memory = this.#memory;
    const mode = this.#mode;
    const reservedHigh = reservedHighBits(this.#format, mode);
    let level = startLevel;
    let table = startTable;
    let rights = startRights;
    if (this.#format === PAE && level === 3) {
      const fault = this.#passPdpte();
      if (fault !== PASSED) return fault;
      table = frameOfEntry(this.entryLow[3] ?? 0, this.entryHigh[3] ?? 0);
      level = 2;
    }
    for (;;) {
      const cell = this.#locate(level, table, entrySlot(level, this.#low, this.#high) << 1);
      if (cell < 0) return this.#stop(level, 0);
      const low = memory.loadEntry(cell);
      const high = memory.high;
      this.entryLow[level] = low;
      this.entryHigh[level] = high;
      if ((low & PRESENT) === 0) return this.#stop(level, 0);
      const isLarge = level !== 1 && (low & PAGE_SIZE) !== 0;
      if ((high & reservedHigh) !== 0 || (isLarge && hasReservedLargeBits(level, low, mode))) {
        return this.#stop(level, PRESENT | RESERVED);
      }
      if (level === 1 || isLarge) {
        return this.#reach(level, level === 1 ? 12 : level === 2 ? 21 : 30, narrowRights(rights, low, high));
      }
      if ((low & ACCESSED) === 0 && this.#policy === AS_PASSED && !this.#mark(level, ACCESSED)) continue;
      rights = narrowRights(rights, low, high);
      table = frameOfEntry(low, high);
      level--;
    }
  }

  /** The same through the 4-byte entries of 2-level tables. */
  #descendWords(startLevel: number, startTable: number, startRights: number): number {
    const mode = this.#mode;
    let level = startLevel;
    let table = startTable;
    let rights = startRights;
    for (;;) {
      const cell = this.#locate(level, table, wordSlot(level, this.#low));
      if (cell < 0) return this.#stop(level, 0);
      const low = this.#memory.loadWord(cell);
      this.entryLow[level] = low;
      this.entryHigh[level] = 0;
      if ((low & PRESENT) === 0) return this.#stop(level, 0);
      if (level === 1) return this.#reach(1, 12, narrowRights(rights, low, 0));
      if ((low & PAGE_SIZE) !== 0 && (mode & MODE_PSE) !== 0) {
        if (hasReserved4mBits(low, mode)) return this.#stop(level, PRESENT | RESERVED);
        return this.#reach(level, 22, narrowRights(rights, low, 0));
      }
      if ((low & ACCESSED) === 0 && this.#policy === AS_PASSED && !this.#mark(level, ACCESSED)) continue;
      rights = narrowRights(rights, low, 0);
      table = frameOfEntry(low, 0);
      level--;
    }
  }

  /** Takes level 3 of PAE from the registers. PDPTEs have neither rights nor A and D. */
  #passPdpte(): number {
    const slot = this.#low >>> 30;
    const low = this.pdpteLow[slot] ?? 0;
    const high = this.pdpteHigh[slot] ?? 0;
    this.#forget(3, 3);
    this.entryLow[3] = low;
    this.entryHigh[3] = high;
    if ((low & PRESENT) === 0) return this.#stop(3, 0);
    return hasReservedPdpteBits(low, high) ? this.#stop(3, PRESENT | RESERVED) : PASSED;
  }

  /** Notes where the entry of a level lies: `offset` words into its table. Answers its cell, -1 if not in memory. */
  #locate(level: number, table: number, offset: number): number {
    const mfn = this.#frames.frameOf(table);
    this.tableFrame[level] = table;
    this.tableMfn[level] = mfn;
    if (mfn < 0) {
      this.entryLow[level] = 0;
      this.entryHigh[level] = 0;
      this.entryCell[level] = 0;
      return -1;
    }
    const cell = (mfn << 10) | offset;
    this.entryCell[level] = cell;
    return cell;
  }

  /** Sets bits in the entry of a level, in memory and in the copy; false when the entry was changed meanwhile. */
  #mark(level: number, bits: number): boolean {
    const low = this.entryLow[level] ?? 0;
    const marked = low | bits;
    if (marked === low || this.#frames.refusesMark()) return true;
    if (!this.#replace(level, low, marked)) return false;
    this.entryLow[level] = marked;
    return true;
  }

  /** Sets A and D upward from the leaf. An entry changed meanwhile is left alone, but the copy has the bits. */
  #markUpward(leaf: number, startLevel: number, leafBits: number): void {
    const top = this.#format === PAE && startLevel === 3 ? 2 : startLevel;
    let bits = leafBits;
    for (let level = leaf; level <= top; level++) {
      const low = this.entryLow[level] ?? 0;
      const marked = low | bits;
      if (marked !== low) {
        if (!this.#replace(level, low, marked)) this.lostLevels |= 1 << level;
        this.entryLow[level] = marked;
      }
      bits = ACCESSED;
    }
  }

  /** Replaces an entry's low half in memory, if the whole entry is still as it was read. */
  #replace(level: number, low: number, marked: number): boolean {
    const cell = this.entryCell[level] ?? 0;
    let isStored: boolean;
    if (this.#format === TWO_LEVEL) {
      isStored = this.#memory.compareExchangeWord(cell, low, marked) === low;
    } else {
      const high = this.entryHigh[level] ?? 0;
      isStored = this.#memory.compareExchangeEntry(cell, low, high, marked, high);
    }
    if (isStored) this.writtenLevels |= 1 << level;
    return isStored;
  }

  #reach(level: number, pageShift: number, rights: number): number {
    this.leafLevel = level;
    this.pageShift = pageShift;
    this.rights = rights;
    this.frame = pageFrame(pageShift, this.entryLow[level] ?? 0, this.entryHigh[level] ?? 0, this.#low);
    if (level !== 1) this.#forget(1, level - 1);
    return PASSED;
  }

  #stop(level: number, fault: number): number {
    this.stopLevel = level;
    this.leafLevel = 0;
    this.#forget(1, level - 1);
    return fault;
  }

  #refuse(errorCode: number): boolean {
    this.errorCode = errorCode;
    this.dirty = this.leafLevel === 0 || ((this.entryLow[this.leafLevel] ?? 0) & DIRTY) === 0 ? 0 : 1;
    return false;
  }

  /** Forgets what an earlier walk left of levels that this one does not visit. */
  #forget(from: number, to: number): void {
    for (let level = from; level <= to; level++) {
      this.entryLow[level] = 0;
      this.entryHigh[level] = 0;
      this.entryCell[level] = 0;
      this.tableFrame[level] = 0;
      this.tableMfn[level] = 0;
    }
  }
}

/** The bits of an access that an error code repeats. */
function reportedAccess(format: number, access: number, mode: number): number {
  const fetchModes = format === TWO_LEVEL ? MODE_SMEP : MODE_SMEP | MODE_NXE;
  return access & ((mode & fetchModes) === 0 ? WRITE | BY_USER : WRITE | BY_USER | FETCH);
}

/** Index into a table of 1024 4-byte entries. */
function wordSlot(level: number, low: number): number {
  return level === 1 ? (low >>> 12) & 0x3ff : low >>> 22;
}

/** Index into a table of 512 8-byte entries. */
function entrySlot(level: number, low: number, high: number): number {
  if (level === 1) return (low >>> 12) & 0x1ff;
  if (level === 2) return (low >>> 21) & 0x1ff;
  if (level === 3) return ((low >>> 30) | (high << 2)) & 0x1ff;
  return (high >>> 7) & 0x1ff;
}

/** The 4 KiB frame that `address` falls into, of the page that a leaf entry maps. */
function pageFrame(pageShift: number, low: number, high: number, address: number): number {
  if (pageShift === 12) return frameOfEntry(low, high);
  const within = (address >>> 12) & ((1 << (pageShift - 12)) - 1);
  // Bits 13 to 20 of a 4 MiB entry are zero, being reserved, where PSE-36 does not make them address bits 32 to 39.
  if (pageShift === 22) return ((low >>> 22) << 10) | (((low >>> 13) & 0xff) << 20) | within;
  return (frameOfEntry(low, high) & -(1 << (pageShift - 12))) | within;
}
