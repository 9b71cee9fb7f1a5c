/** All the ways in which shadows are taken away from a page or a tree (spec 3.13 to 3.16, 6.4). */
import { Counter } from "../../memory/counters.ts";
import { CrashReason, DomainCell } from "../../memory/domain-area.ts";
import { SHADOWED } from "../../memory/frame-table.ts";
import { mfn, vcpuId } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import type { ShadowVisitor } from "./hash.ts";
import { refersToFrame } from "./shadow-entry.ts";
import { LEAF_TYPES, ShadowType, isLeafType, parentTypesOf } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const ENTRIES = 512;

/** Higher levels first: killing a parent often kills its children. */
const REMOVAL_ORDER: readonly number[] = [
  ShadowType.l2_32,
  ShadowType.l1_32,
  ShadowType.l2_pae,
  ShadowType.l1_pae,
  ShadowType.l4_64,
  ShadowType.l3_64,
  ShadowType.l2_64,
  ShadowType.l1_64,
];

/** Removes one shadow from every parent, until it is dead. */
class Excision implements ShadowVisitor {
  child: Mfn = mfn(0);
  childType = 0;
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  visit(parent: Mfn, type: number): boolean {
    const { memory, frames, entries } = this.#shadow;
    const step = type === ShadowType.l2_32 ? 2 : 1;
    for (let page = parent; page !== 0; page = frames.sibling(page)) {
      for (let slot = 0; slot < ENTRIES; slot += step) {
        const cell = (page << 10) | (slot << 1);
        const low = memory.loadEntry(cell);
        if ((low & PRESENT) === 0 || this.#shadow.frameIn(low, memory.high) !== this.child) continue;
        entries.setUpper(cell, 0, 0, type);
        if (frames.type(this.child) !== this.childType) return true;
      }
    }
    return false;
  }
}

/** Zeroes every leaf that maps a page, until no reference but the allocation's is left. */
class MappingRemoval implements ShadowVisitor {
  frame: Mfn = mfn(0);
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  visit(leaf: Mfn): boolean {
    const { memory, frames, entries } = this.#shadow;
    for (let page = leaf; page !== 0; page = frames.sibling(page)) {
      for (let slot = 0; slot < ENTRIES; slot++) {
        const cell = (page << 10) | (slot << 1);
        const low = memory.loadEntry(cell);
        const { high } = memory;
        if (!refersToFrame(low, high) || this.#shadow.frameIn(low, high) !== this.frame) continue;
        entries.setLeaf(cell, 0, 0);
        if (frames.count(this.frame) <= 1) return true;
      }
    }
    return false;
  }
}

/** Takes shadows away. */
export class Unshadow {
  readonly #shadow: Shadow;
  readonly #excision: Excision;
  readonly #mappings: MappingRemoval;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
    this.#excision = new Excision(shadow);
    this.#mappings = new MappingRemoval(shadow);
  }

  /**
   * Removes the shadows of a page. `fast` follows upward links only and may leave some; `all` must succeed, or the
   * domain crashes: so it does for a root that some vCPU runs on. Always flushes: a later fault handler must not read a
   * cut branch through a stale translation.
   */
  removeShadows(frame: Mfn, fast: boolean, all: boolean): void {
    const { lock, frames, counters, domain } = this.#shadow;
    lock.acquire(LockSite.remove_shadows);
    if ((frames.shadowFlags(frame) & SHADOWED) !== 0) {
      counters.add(Counter.unshadow);
      for (const type of REMOVAL_ORDER)
        if (((frames.shadowFlags(frame) >>> type) & 1) !== 0) this.#removeType(frame, type, fast);
      if (all && (frames.shadowFlags(frame) & SHADOWED) !== 0)
        domain.crash(CrashReason.rootUnshadowed, frame);
      this.#shadow.flushAll();
    }
    lock.release();
  }

  /** Removes every mapping of a page. True when a flush is owed. */
  removeAllMappings(frame: Mfn): boolean {
    const { lock, frames, counters, hash } = this.#shadow;
    lock.acquire(LockSite.remove_all_mappings);
    const isMapped = frames.count(frame) > 1;
    if (isMapped) {
      counters.add(Counter.mappings);
      counters.add(Counter.mappings_bf);
      this.#mappings.frame = frame;
      hash.visitAll(LEAF_TYPES, this.#mappings);
    }
    lock.release();
    return isMapped;
  }

  /** Throws every shadow away but the roots that vCPUs run on, which stay, empty (spec 3.15). */
  blowTables(): void {
    const { domain, frames, references, counters, config, memory, layout } = this.#shadow;
    counters.add(Counter.blow_tables);
    let victim = mfn(domain.read(DomainCell.pinnedTail));
    while (victim !== 0) {
      const next = frames.previousFrame(victim);
      references.unpin(victim);
      victim = next;
    }
    for (let id = 0; id < config.vcpus; id++) {
      const roots = vcpuArea(layout, vcpuId(id)) + VcpuCell.roots;
      for (let slot = 0; slot < 4; slot++) {
        const root = memory.loadGuarded(roots + slot);
        if (root !== 0) this.unhook(mfn(root));
      }
    }
    this.#shadow.flushAll();
  }

  /** Clears every present entry of a root. The caller flushes. */
  unhook(root: Mfn): void {
    const { memory, frames, entries } = this.#shadow;
    const type = frames.type(root);
    const step = type === ShadowType.l2_32 ? 2 : 1;
    for (let page = root; page !== 0; page = frames.sibling(page)) {
      for (let slot = 0; slot < ENTRIES; slot += step) {
        const cell = (page << 10) | (slot << 1);
        if ((memory.loadEntry(cell) & PRESENT) !== 0) entries.setUpper(cell, 0, 0, type);
      }
    }
  }

  #removeType(frame: Mfn, type: number, fast: boolean): void {
    const { frames, hash, references, counters } = this.#shadow;
    const shadow = hash.lookup(frame, type);
    if (shadow === 0) return;
    if (references.isPinnable(type)) references.unpin(shadow);
    else if (references.hasUpPointer(shadow) && frames.up(shadow) !== 0) {
      counters.add(frames.count(shadow) === 1 ? Counter.up_pointer : Counter.unshadow_bf);
      this.#cutParent(frames.up(shadow));
    }
    if (fast || ((frames.shadowFlags(frame) >>> type) & 1) === 0) return;
    this.#excision.child = shadow;
    this.#excision.childType = type;
    hash.visitAll(parentTypesOf(type), this.#excision);
  }

  /** Blanks the one parent entry that an upward link names. */
  #cutParent(cell: number): void {
    const { frames, entries, vcpu } = this.#shadow;
    const parent = frames.type(mfn(cell >>> 10));
    if (isLeafType(parent) || parent === 0) {
      vcpu.reportViolation(
        "lifetime",
        `an upward link leads to cell 0x${cell.toString(16)}, which is no table`,
      );
      return;
    }
    entries.setUpper(cell, 0, 0, parent);
  }
}
