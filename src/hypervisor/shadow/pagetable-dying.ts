/**
 * The hint that a process is dying (spec 4.11, 19): a guest that knows of its hypervisor says so before it takes an
 * address space apart. Its user mappings go at once, in one go and with one flush, and from then on the first zero that is
 * stored to one of its tables unshadows the table; nobody has to guess from the second.
 *
 * Once a guest has given the hint, guessing ends: two zeros in a row by somebody who has not are two zeros.
 */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { NO_MFN, mfn, vcpuId } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { frameOfEntry } from "../../machine/entry.ts";
import { ShadowType, rootTypeOf } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const USER = 4;
const ENTRIES = 512;
const ROOTS = 4;
const PAE = 3;
/** A PAE root is 32 bytes. */
const ROOT_TABLE_MASK = 0xfe0;
const ROOT_TYPES = (1 << ShadowType.l2_32) | (1 << ShadowType.l2_pae) | (1 << ShadowType.l4_64);

/** Keeps what the guest has said of its dying processes. */
export class PagetableDying {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** The hypercall: the process whose root is at a guest physical address is dying, on this vCPU. */
  announce(low: number, high: number): void {
    const { lock, counters, domain, guest, memory, p2m, vcpu } = this.#shadow;
    lock.acquire(LockSite.pagetable_dying);
    counters.add(Counter.pagetable_dying);
    domain.write(DomainCell.dyingAnnounced, 1);
    memory.storeGuarded(vcpu.area + VcpuCell.pagetableDying, 1);
    const page = p2m.frameOf(frameOfEntry(low, high));
    if (page !== NO_MFN) {
      if (guest.format() === PAE) this.#beginAll((page << 10) | ((low & ROOT_TABLE_MASK) >>> 2));
      else this.#begin(page, guest.format());
    }
    this.#shadow.flushAll();
    lock.release();
  }

  /** The same for the level 2 tables that the four entries of a PAE root name. */
  #beginAll(root: number): void {
    const { memory, p2m } = this.#shadow;
    for (let slot = 0; slot < ROOTS; slot++) {
      const low = memory.loadEntry(root + 2 * slot);
      const table = p2m.frameOf(frameOfEntry(low, memory.high));
      if ((low & PRESENT) !== 0 && table !== NO_MFN) this.#begin(table, PAE);
    }
  }

  /** This vCPU goes on with another address space. Callers hold the lock. */
  forget(): void {
    const { memory, vcpu, switches } = this.#shadow;
    if (switches["pagetable-dying"]) memory.storeGuarded(vcpu.area + VcpuCell.pagetableDying, 0);
  }

  /** Whether a zero, stored to a page that is or is not the same as the last, unshadows it. Callers hold the lock. */
  isEnough(frame: Mfn, isSecond: boolean): boolean {
    const { domain, memory, vcpu, frames, switches } = this.#shadow;
    if (!switches["pagetable-dying"] || domain.read(DomainCell.dyingAnnounced) === 0) return isSecond;
    const isDying = memory.loadGuarded(vcpu.area + VcpuCell.pagetableDying) !== 0;
    return isDying && (frames.shadowFlags(frame) & ROOT_TYPES) === 0;
  }

  /** A store to a table is about to be emulated: the root of a dying process that nobody runs on is no table any more. */
  unshadowDead(frame: Mfn): void {
    const { frames, unshadow, switches } = this.#shadow;
    if (switches["pagetable-dying"] && frames.dying(frame) !== 0 && !this.#isLoaded(frame))
      unshadow.removeShadows(frame, true, false);
  }

  /** Marks a root table and takes its user mappings away. */
  #begin(table: Mfn, format: number): void {
    const { frames, hash, memory, entries } = this.#shadow;
    const type = rootTypeOf(format);
    const root = hash.lookup(table, type);
    if (root === 0) return;
    frames.setDying(table, 1);
    const step = type === ShadowType.l2_32 ? 2 : 1;
    for (let page = root; page !== 0; page = frames.sibling(page))
      for (let slot = 0; slot < ENTRIES; slot += step) {
        const cell = (page << 10) | (slot << 1);
        if ((memory.loadEntry(cell) & (PRESENT | USER)) === (PRESENT | USER))
          entries.setUpper(cell, 0, 0, type);
      }
  }

  #isLoaded(table: Mfn): boolean {
    const { config, layout, memory, frames } = this.#shadow;
    for (let id = 0; id < config.vcpus; id++)
      for (let slot = 0; slot < ROOTS; slot++) {
        const root = mfn(memory.loadGuarded(vcpuArea(layout, vcpuId(id)) + VcpuCell.roots + slot));
        if (root !== 0 && frames.back(root) === table) return true;
      }
    return false;
  }
}
