/**
 * The walk that a vCPU's hardware makes on a TLB miss: over machine frames, from the root that the hypervisor installed,
 * with A and D set as the walk passes (SDM vol. 3, 4.8), then into the TLB.
 */
import { Counter } from "../memory/counters.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import { Cr4 } from "./control-registers.ts";
import { narrowRights } from "./access-rights.ts";
import { TlbFlag } from "./tlb.ts";
import type { Vcpu } from "./vcpu.ts";
import { AccessedPolicy, WalkFormat, WalkMode, Walker } from "./walker.ts";
import type { FrameMap } from "./walker.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const SHADOW_WALKS = Counter.shadow_walks;
const STRUCTURE_CACHE_HITS = Counter.structure_cache_hits;
const CR4_SMAP = Cr4.smap;
const CR4_SMEP = Cr4.smep;
const TLB_DIRTY = TlbFlag.dirty;
const CELL_CR4 = VcpuCell.cr4;
const CELL_HARDWARE_ROOT = VcpuCell.hardwareRoot;
const CELL_PAGING_ON = VcpuCell.pagingOn;
const CELL_PDPTES = VcpuCell.pdptes;
const CELL_SHADOW_LEVELS = VcpuCell.shadowLevels;
const FORMAT_FOUR_LEVEL = WalkFormat.fourLevel;
const FORMAT_PAE = WalkFormat.pae;
const MODE_AC = WalkMode.ac;
const MODE_NXE = WalkMode.nxe;
const MODE_PSE = WalkMode.pse;
const MODE_SMAP = WalkMode.smap;
const MODE_SMEP = WalkMode.smep;
const MODE_WP = WalkMode.wp;

const ALL_RIGHTS = 22;

/** Machine memory as hardware sees it: a frame is where its number says, and what lies beyond reads as zero. */
class MachineFrames implements FrameMap {
  readonly #frames: number;

  constructor(frames: number) {
    this.#frames = frames;
  }

  frameOf(frame: number): number {
    return frame > 0 && frame < this.#frames ? frame : -1;
  }

  refusesMark(): boolean {
    return false;
  }
}

/** Translates linear addresses by the shadow tables and fills the TLB. */
export class HardwareWalk {
  /** After a success: the frame. */
  frame = 0;
  /** After a refusal: the #PF error code; negative for #GP (an address that is not canonical). */
  errorCode = 0;
  readonly #vcpu: Vcpu;
  readonly #walker: Walker;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
    this.#walker = new Walker(
      vcpu.memory,
      new MachineFrames(vcpu.layout.sizes.frames),
      AccessedPolicy.asPassed,
    );
  }

  /** Walks for an access (bits of an error code); true when it may go ahead. */
  translate(low: number, high: number, access: number): boolean {
    const vcpu = this.#vcpu;
    const walker = this.#walker;
    vcpu.counters.add(SHADOW_WALKS);
    const levels = vcpu.register(CELL_SHADOW_LEVELS);
    const fourLevel = levels === 4;
    if (fourLevel && !isCanonical(high)) {
      this.errorCode = -1;
      return false;
    }
    // The guest's paging may be off while hardware walks tables for it: then there is neither SMEP nor SMAP.
    const cr4 = vcpu.register(CELL_PAGING_ON) === 0 ? 0 : vcpu.register(CELL_CR4);
    const mode =
      MODE_WP |
      MODE_NXE |
      MODE_PSE |
      ((cr4 & CR4_SMEP) === 0 ? 0 : MODE_SMEP) |
      ((cr4 & CR4_SMAP) === 0 ? 0 : MODE_SMAP) |
      (vcpu.alignmentCheck ? MODE_AC : 0);
    const format = fourLevel ? FORMAT_FOUR_LEVEL : FORMAT_PAE;
    if (!this.#walkFromCacheOrRoot(format, low, high, access, mode)) {
      this.errorCode = walker.errorCode;
      return false;
    }
    const flags = walker.rights | (walker.dirty === 0 ? 0 : TLB_DIRTY);
    this.frame = walker.frame;
    vcpu.tlb.insert(low, high, walker.frame, flags);
    return true;
  }

  #walkFromCacheOrRoot(format: number, low: number, high: number, access: number, mode: number): boolean {
    const vcpu = this.#vcpu;
    const walker = this.#walker;
    const table = vcpu.structureCache.find(low, high);
    if (table >= 0) {
      vcpu.counters.add(STRUCTURE_CACHE_HITS);
      if (walker.walk(format, 1, table, vcpu.structureCache.rights, low, high, access, mode)) return true;
      // A fault drops what the cache holds for the address; walk again from the root before believing it.
      vcpu.structureCache.flush();
    }
    const root = this.#loadRoot(format);
    if (!walker.walk(format, format === FORMAT_PAE ? 3 : 4, root, ALL_RIGHTS, low, high, access, mode))
      return false;
    if (walker.leafLevel === 1) {
      vcpu.structureCache.insert(low, high, walker.tableMfn[1] ?? 0, this.#rightsAboveLeaf(format));
    }
    return true;
  }

  /** What the levels above the leaf table grant together; PDPTEs have no rights. */
  #rightsAboveLeaf(format: number): number {
    let rights = ALL_RIGHTS;
    for (let level = 2; level <= (format === FORMAT_PAE ? 2 : 4); level++) {
      rights = narrowRights(rights, this.#walker.entryLow[level] ?? 0, this.#walker.entryHigh[level] ?? 0);
    }
    return rights;
  }

  #loadRoot(format: number): number {
    const { memory, area } = this.#vcpu;
    if (format !== FORMAT_PAE) return memory.loadWord(area + CELL_HARDWARE_ROOT);
    for (let index = 0; index < 4; index++) {
      this.#walker.pdpteLow[index] = memory.loadEntry(area + CELL_PDPTES + 2 * index);
      this.#walker.pdpteHigh[index] = memory.high;
    }
    return 0;
  }
}

/** Whether a 64-bit linear address with this high half is canonical: bits 63 to 47 are all the same. */
export function isCanonical(high: number): boolean {
  return (high << 16) >> 16 === high;
}
