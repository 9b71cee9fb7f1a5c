/**
 * Nested paging (AMD's NPT, Intel's EPT): hardware walks the guest's own tables, and every guest frame number that it
 * meets, of a table or of the page at the end, through the p2m tables that the hypervisor gave it. The TLB gets the
 * combined translation. So the guest's tables, MOV CR3 and INVLPG need no exit, and A and D are set where the guest put its
 * entries. What the p2m tables do not map is an exit of its own: a nested fault.
 */
import { Counter } from "../memory/counters.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import { narrowRights } from "./access-rights.ts";
import { CR3_BEYOND_PHYSICAL, Cr0, Cr4, Efer } from "./control-registers.ts";
import { frameOfEntry } from "./entry.ts";
import { Status } from "./exits.ts";
import { isCanonical } from "./hardware-walk.ts";
import { loadPdptes } from "./pdptes.ts";
import { TlbFlag } from "./tlb.ts";
import type { Vcpu } from "./vcpu.ts";
import { AccessedPolicy, WalkFormat, WalkMode, Walker } from "./walker.ts";
import type { FrameMap } from "./walker.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const NESTED_WALKS = Counter.nested_walks;
const STRUCTURE_CACHE_HITS = Counter.structure_cache_hits;
const CR0_WP = Cr0.wp;
const CR4_PSE = Cr4.pse;
const CR4_SMAP = Cr4.smap;
const CR4_SMEP = Cr4.smep;
const EFER_NXE = Efer.nxe;
const TLB_DIRTY = TlbFlag.dirty;
const TLB_LARGE = TlbFlag.large;
const CELL_CR0 = VcpuCell.cr0;
const CELL_CR3_HIGH = VcpuCell.cr3High;
const CELL_CR3_LOW = VcpuCell.cr3Low;
const CELL_CR4 = VcpuCell.cr4;
const CELL_EFER = VcpuCell.efer;
const CELL_GUEST_LEVELS = VcpuCell.guestLevels;
const CELL_GUEST_PDPTES = VcpuCell.guestPdptes;
const CELL_NESTED_ROOT = VcpuCell.nestedRoot;
const CELL_PAGING_ON = VcpuCell.pagingOn;
const FORMAT_FOUR_LEVEL = WalkFormat.fourLevel;
const FORMAT_PAE = WalkFormat.pae;
const MODE_AC = WalkMode.ac;
const MODE_NXE = WalkMode.nxe;
const MODE_PSE = WalkMode.pse;
const MODE_SMAP = WalkMode.smap;
const MODE_SMEP = WalkMode.smep;
const MODE_WP = WalkMode.wp;

const ALL_RIGHTS = 22;
const PRESENT = 1;
const WRITABLE = 2;
/** Bits of a guest frame number that index a p2m table: the top level's lie above three others. */
const LEVEL_BITS = 9;
const TOP_SHIFT = 27;
const TABLE_MASK = 511;
const NOTHING = -1;

/** Guest frames through the p2m tables, as hardware reads them. A number below 0 is the complement of a machine frame. */
class NestedFrames implements FrameMap {
  /** Machine frame of the top table. */
  root = 0;
  /** The last guest frame that the tables did not map, or not for the A or D of an entry in it; -1 for none. */
  refused = NOTHING;
  /** Whether it was for A or D. */
  isMarkRefused = false;
  /** Whether the frame asked for last is mapped read-only. */
  isReadOnly = false;
  #frame = 0;
  readonly #memory: SharedMemory;

  constructor(memory: SharedMemory) {
    this.#memory = memory;
  }

  frameOf(frame: number): number {
    this.isReadOnly = false;
    if (frame < 0) return ~frame;
    this.#frame = frame;
    let table = this.root;
    let low = 0;
    for (let shift = TOP_SHIFT; shift >= 0; shift -= LEVEL_BITS) {
      low = this.#memory.loadEntry((table << 10) | (((frame >>> shift) & TABLE_MASK) << 1));
      if ((low & PRESENT) === 0) {
        if (!this.isMarkRefused) this.refused = frame;
        return -1;
      }
      table = frameOfEntry(low, this.#memory.high);
    }
    this.isReadOnly = (low & WRITABLE) === 0;
    return table;
  }

  refusesMark(): boolean {
    if (!this.isReadOnly) return false;
    this.refused = this.#frame;
    this.isMarkRefused = true;
    return true;
  }

  /** A walk begins. */
  forget(): void {
    this.refused = NOTHING;
    this.isMarkRefused = false;
  }
}

/** What a vCPU's hardware does by itself while it has p2m tables. */
export class NestedPaging {
  /** After a success: the machine frame. */
  frame = 0;
  /** After a refusal: the guest frame that the p2m tables do not map so, or -1 when the guest's own tables refused. */
  missingFrame = NOTHING;
  /** Whether that frame was to be a table of the guest's, and not the page at the end. */
  isTableMissing = false;
  /** Whether it was to be written. */
  isWriteRefused = false;
  /** After a refusal by the guest's tables: the #PF error code; negative for #GP (an address that is not canonical). */
  errorCode = 0;
  readonly #vcpu: Vcpu;
  readonly #frames: NestedFrames;
  readonly #walker: Walker;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
    this.#frames = new NestedFrames(vcpu.memory);
    this.#walker = new Walker(vcpu.memory, this.#frames, AccessedPolicy.asPassed);
  }

  /** Walks in two dimensions for an access (bits of an error code) and fills the TLB; true when it may go ahead. */
  translate(low: number, high: number, access: number): boolean {
    const vcpu = this.#vcpu;
    vcpu.counters.add(NESTED_WALKS);
    this.missingFrame = NOTHING;
    this.isWriteRefused = false;
    this.#loadRoot();
    if (vcpu.register(CELL_PAGING_ON) === 0)
      return this.#reachPage(low, high, low >>> 12, ALL_RIGHTS | TLB_DIRTY, access);
    const format = vcpu.register(CELL_GUEST_LEVELS);
    if (format === FORMAT_FOUR_LEVEL && !isCanonical(high)) {
      this.errorCode = -1;
      return false;
    }
    const walker = this.#walker;
    const frames = this.#frames;
    const hasPassed = this.#walkFromCacheOrRoot(format, low, high, access);
    if (!hasPassed || frames.isMarkRefused) {
      this.errorCode = walker.errorCode;
      this.missingFrame = frames.refused;
      this.isTableMissing = true;
      this.isWriteRefused = frames.isMarkRefused;
      return false;
    }
    const isLarge = walker.leafLevel !== 1;
    const flags = walker.rights | (walker.dirty === 0 ? 0 : TLB_DIRTY) | (isLarge ? TLB_LARGE : 0);
    return this.#reachPage(low, high, walker.frame, flags, access);
  }

  /** MOV to CR3, all of it: the PDPTEs are loaded, the TLB is emptied, and nobody is told. Returns a `Status`. */
  loadCr3(low: number, high: number): number {
    const vcpu = this.#vcpu;
    const hasPaging = vcpu.register(CELL_PAGING_ON) !== 0;
    const isLong = hasPaging && vcpu.register(CELL_GUEST_LEVELS) === FORMAT_FOUR_LEVEL;
    if (isLong && (high & CR3_BEYOND_PHYSICAL) !== 0) return Status.generalProtection;
    vcpu.setRegister(CELL_CR3_LOW, low);
    vcpu.setRegister(CELL_CR3_HIGH, high);
    if (!hasPaging) return Status.done;
    this.#awaitPdptes(low);
    this.reloadPdptes();
    vcpu.mailbox.flushLocal();
    return Status.done;
  }

  /** Other roots are met by the next walk, but PDPTEs are loaded now. */
  #awaitPdptes(cr3: number): void {
    const vcpu = this.#vcpu;
    if (vcpu.register(CELL_GUEST_LEVELS) !== FORMAT_PAE) return;
    this.#loadRoot();
    if (this.#frames.frameOf(cr3 >>> 12) < 0) vcpu.hypervisor().awaitRoot(cr3 >>> 12);
  }

  /** Loads the PDPTEs from where CR3 points to, if the guest's paging has such; zeroes if no memory is there. */
  reloadPdptes(): void {
    const vcpu = this.#vcpu;
    if (vcpu.register(CELL_PAGING_ON) === 0 || vcpu.register(CELL_GUEST_LEVELS) !== FORMAT_PAE) return;
    this.#loadRoot();
    const cr3 = vcpu.register(CELL_CR3_LOW);
    const page = this.#frames.frameOf(cr3 >>> 12);
    loadPdptes(vcpu.memory, vcpu.area, page < 0 ? 0 : page, cr3);
  }

  #loadRoot(): void {
    const { memory, area } = this.#vcpu;
    this.#frames.root = memory.loadWord(area + CELL_NESTED_ROOT);
  }

  /** The second dimension's last walk: from the guest frame of the page to the machine's, with its rights. */
  #reachPage(low: number, high: number, guestFrame: number, flags: number, access: number): boolean {
    const frame = this.#frames.frameOf(guestFrame);
    const { isReadOnly } = this.#frames;
    if (frame < 0 || (isReadOnly && (access & WRITABLE) !== 0)) {
      this.missingFrame = guestFrame;
      this.isTableMissing = false;
      this.isWriteRefused = frame >= 0;
      return false;
    }
    this.frame = frame;
    this.#vcpu.tlb.insert(low, high, frame, isReadOnly ? flags & ~(WRITABLE | TLB_DIRTY) : flags);
    return true;
  }

  #walkFromCacheOrRoot(format: number, low: number, high: number, access: number): boolean {
    const vcpu = this.#vcpu;
    const walker = this.#walker;
    const mode = this.#mode(format);
    this.#frames.forget();
    const table = vcpu.structureCache.find(low, high);
    if (table >= 0) {
      vcpu.counters.add(STRUCTURE_CACHE_HITS);
      if (walker.walk(format, 1, ~table, vcpu.structureCache.rights, low, high, access, mode)) return true;
      // A fault drops what the cache holds for the address; walk again from the root before believing it.
      vcpu.structureCache.flush();
    }
    if (format === FORMAT_PAE) this.#takePdptes();
    const root = (vcpu.register(CELL_CR3_LOW) >>> 12) | this.#rootHigh(format);
    this.#frames.forget();
    if (!walker.walk(format, format, root, ALL_RIGHTS, low, high, access, mode)) return false;
    // A table in a read-only page is not cached: its protection would be forgotten.
    if (walker.leafLevel === 1 && !this.#frames.isReadOnly)
      vcpu.structureCache.insert(low, high, walker.tableMfn[1] ?? 0, this.#rightsAboveLeaf(format));
    return true;
  }

  /** `WalkMode` bits of the guest's registers. Like shadow mode, this machine has neither PSE-36 nor 1 GiB pages. */
  #mode(format: number): number {
    const vcpu = this.#vcpu;
    const cr4 = vcpu.register(CELL_CR4);
    return (
      ((vcpu.register(CELL_CR0) & CR0_WP) === 0 ? 0 : MODE_WP) |
      ((cr4 & CR4_SMEP) === 0 ? 0 : MODE_SMEP) |
      ((cr4 & CR4_SMAP) === 0 ? 0 : MODE_SMAP) |
      (vcpu.alignmentCheck ? MODE_AC : 0) |
      ((vcpu.register(CELL_EFER) & EFER_NXE) === 0 ? 0 : MODE_NXE) |
      (format !== 2 || (cr4 & CR4_PSE) !== 0 ? MODE_PSE : 0)
    );
  }

  /** Frame number bits of CR3's upper half, which only long mode has. */
  #rootHigh(format: number): number {
    return format === FORMAT_FOUR_LEVEL ? (this.#vcpu.register(CELL_CR3_HIGH) & 0xff) << 20 : 0;
  }

  /** What the levels above the leaf table grant together; PDPTEs have no rights. */
  #rightsAboveLeaf(format: number): number {
    let rights = ALL_RIGHTS;
    for (let level = 2; level <= (format === FORMAT_FOUR_LEVEL ? 4 : 2); level++)
      rights = narrowRights(rights, this.#walker.entryLow[level] ?? 0, this.#walker.entryHigh[level] ?? 0);
    return rights;
  }

  #takePdptes(): void {
    const { memory, area } = this.#vcpu;
    for (let slot = 0; slot < 4; slot++) {
      this.#walker.pdpteLow[slot] = memory.loadEntry(area + CELL_GUEST_PDPTES + 2 * slot);
      this.#walker.pdpteHigh[slot] = memory.high;
    }
  }
}
