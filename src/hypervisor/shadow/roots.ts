/** Installing roots: what MOV CR3 and every mode change come down to (spec 9). */
import { Counter } from "../../memory/counters.ts";
import { CrashReason } from "../../memory/domain-area.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { frameOfEntry } from "../../machine/entry.ts";
import { snapshotPaeRoot } from "./pae-root.ts";
import { Revoked } from "./revoke.ts";
import { rootTypeOf } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const ROOTS = 4;

/** Installs and drops the roots of one vCPU. */
export class Roots {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Makes the shadow of the guest's current root the one that hardware walks, and flushes this vCPU's TLB. The steps
   * have the order of spec 9.2: write access is revoked while the old root still serves the guesses.
   */
  updateCr3(): void {
    const { lock, counters, guest, vcpu, fastEmulate, translations, outOfSync, dying } = this.#shadow;
    lock.acquire(LockSite.update_cr3);
    fastEmulate.forget();
    translations.forgetAll();
    dying.forget();
    counters.add(Counter.update_cr3);
    const format = guest.format();
    // While the old tree still serves the guesses.
    outOfSync.resyncOwn();
    if (format === 3) snapshotPaeRoot(this.#shadow);
    if (outOfSync.isOn) this.#resyncRoots(format);
    if (this.#revokeRoots(format)) this.#shadow.flushAll();
    if (format === 3)
      for (let slot = 0; slot < ROOTS; slot++) this.#setRoot(slot, this.#paeTable(slot), format);
    else this.#setRoot(0, mfn(guest.register(VcpuCell.guestTable)), format);
    this.#loadHardware(format);
    // Which tree is meant is known now. Nothing is translated before the flush.
    outOfSync.followFlush();
    vcpu.mailbox.flushLocal();
    lock.release();
  }

  /** Drops every root of this vCPU and leaves hardware without one. */
  dropRoots(): void {
    const { memory, vcpu, references } = this.#shadow;
    for (let slot = 0; slot < ROOTS; slot++) {
      const cell = vcpu.area + VcpuCell.roots + slot;
      const root = mfn(memory.loadGuarded(cell));
      memory.storeGuarded(cell, 0);
      if (root !== 0) references.putShadow(root, 0);
    }
  }

  /**
   * Tables that become roots are in sync before any of them loses its writable mappings: bringing one up to date later could
   * make another writable again. Xen leaves it to the promotion.
   */
  #resyncRoots(format: number): void {
    const { guest, outOfSync } = this.#shadow;
    for (let slot = 0; slot < (format === 3 ? ROOTS : 1); slot++) {
      const table = format === 3 ? this.#paeTable(slot) : mfn(guest.register(VcpuCell.guestTable));
      if (table !== 0) outOfSync.resyncPage(table);
    }
  }

  #revokeRoots(format: number): boolean {
    const { guest, revocation } = this.#shadow;
    if (format !== 3) {
      const root = mfn(guest.register(VcpuCell.guestTable));
      return root !== 0 && revocation.revokeWriteAccess(root, format, 0, 0) === Revoked.flush;
    }
    let flush = false;
    for (let slot = 0; slot < ROOTS; slot++) {
      const table = this.#paeTable(slot);
      if (table !== 0 && revocation.revokeWriteAccess(table, 2, 0, 0) === Revoked.flush) flush = true;
    }
    return flush;
  }

  /** The level 2 table of a snapshot entry, 0 when the entry is absent, reserved or not memory. */
  #paeTable(slot: number): Mfn {
    const { memory, vcpu, p2m, guest } = this.#shadow;
    const low = memory.loadEntry(vcpu.area + VcpuCell.guestPdptes + 2 * slot);
    const { high } = memory;
    if ((low & PRESENT) === 0 || guest.isReserved(3, 3, low, high)) return mfn(0);
    const frame = p2m.frameOf(frameOfEntry(low, high));
    return frame === NO_MFN ? mfn(0) : frame;
  }

  /** Puts the shadow of a guest table into a root slot. The old root is released after the new one is held. */
  #setRoot(slot: number, table: Mfn, format: number): void {
    const { memory, vcpu, references, domain } = this.#shadow;
    const cell = vcpu.area + VcpuCell.roots + slot;
    const old = mfn(memory.loadGuarded(cell));
    let root = table === 0 ? mfn(0) : this.#rootShadow(table, rootTypeOf(format));
    if (root !== 0 && !references.getShadow(root, 0)) {
      domain.crash(CrashReason.refcountOverflow, root);
      root = mfn(0);
    }
    if (root !== 0) references.pin(root);
    memory.storeGuarded(cell, root);
    if (old !== 0) references.putShadow(old, 0);
  }

  #rootShadow(table: Mfn, type: number): Mfn {
    const { hash, pool, destruction } = this.#shadow;
    const found = hash.lookup(table, type);
    if (found !== 0) return found;
    return pool.prealloc(type, 1) ? destruction.make(table, type) : mfn(0);
  }

  /** What hardware walks: PDPTEs with only P set, as PAE demands, or the level 4 shadow. */
  #loadHardware(format: number): void {
    const { memory, vcpu, tables } = this.#shadow;
    const roots = vcpu.area + VcpuCell.roots;
    const first = mfn(memory.loadGuarded(roots));
    if (format === 4) memory.storeWord(vcpu.area + VcpuCell.hardwareRoot, first);
    else {
      for (let slot = 0; slot < ROOTS; slot++) {
        let root = first;
        if (format === 3) root = mfn(memory.loadGuarded(roots + slot));
        else if (first !== 0) root = tables.pageOf(first, slot);
        const low = root === 0 ? 0 : (root << 12) | PRESENT;
        memory.storeEntry(vcpu.area + VcpuCell.pdptes + 2 * slot, low, root >>> 20);
      }
    }
    memory.storeWord(vcpu.area + VcpuCell.shadowLevels, format === 4 ? 4 : 3);
  }
}
