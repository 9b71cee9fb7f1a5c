/** Changes of paging mode, and the life of a vCPU in shadow mode (spec 10.4, 19). */
import { Counter } from "../../memory/counters.ts";
import { DomainCell, PageSizeMeaning } from "../../memory/domain-area.ts";
import { mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { guestPagingLevels } from "../../machine/control-registers.ts";
import { ShadowType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

/** Chooses the mode that the guest's registers ask for. */
export class PagingModes {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Follows a change of CR0.PG, CR4 or the long-mode bits: drops the roots of the old mode, takes the root that CR3
   * names (the identity table with paging off) and installs its shadow. False when CR3 names no memory.
   */
  update(): boolean {
    const { lock, counters, guest, vcpu, domain, roots, outOfSync } = this.#shadow;
    lock.acquire(LockSite.update_paging_modes);
    counters.add(Counter.update_paging_modes);
    if (outOfSync.isOn && !outOfSync.snapshots.allocate()) {
      lock.release();
      return true;
    }
    roots.dropRoots();
    outOfSync.resyncAll();
    const levels = guestPagingLevels(
      guest.register(VcpuCell.cr0),
      guest.register(VcpuCell.cr4),
      guest.register(VcpuCell.efer),
    );
    vcpu.setRegister(VcpuCell.pagingOn, levels === 0 ? 0 : 1);
    vcpu.setRegister(VcpuCell.guestLevels, levels === 0 ? 2 : levels);
    outOfSync.reconsider();
    if (levels === 2) this.#followPageSize();
    const table = levels === 0 ? domain.read(DomainCell.unpagedTable) : this.#frameOfCr3();
    const hasRoot = table !== 0;
    if (hasRoot) {
      this.setGuestTable(table);
      this.#replaceMonitorTable(levels === 4 ? 4 : 3);
      roots.updateCr3();
    }
    vcpu.refreshRights();
    lock.release();
    return hasRoot;
  }

  /** MOV CR3 with paging on: the new root page is referenced before the old one is dropped. False when it is no memory. */
  loadCr3(): boolean {
    const { lock, roots } = this.#shadow;
    lock.acquire(LockSite.update_cr3);
    const table = this.#frameOfCr3();
    if (table !== 0) {
      this.setGuestTable(table);
      roots.updateCr3();
    }
    lock.release();
    return table !== 0;
  }

  /** Drops everything that this vCPU holds. */
  teardown(): void {
    const { lock, roots, pool, memory, vcpu, outOfSync } = this.#shadow;
    lock.acquire(LockSite.vcpu_teardown);
    outOfSync.resyncOwn();
    outOfSync.snapshots.giveBack();
    roots.dropRoots();
    this.setGuestTable(0);
    const cell = vcpu.area + VcpuCell.monitorTable;
    const monitor = memory.loadGuarded(cell);
    memory.storeGuarded(cell, 0);
    if (monitor !== 0) pool.free(mfn(monitor));
    memory.storeWord(vcpu.area + VcpuCell.shadowLevels, 0);
    lock.release();
  }

  /** Sets the guest's root page, counted (0: none). */
  setGuestTable(table: number): void {
    const { vcpu, pages } = this.#shadow;
    const old = vcpu.register(VcpuCell.guestTable);
    if (old === table) return;
    if (table !== 0) pages.getReference(mfn(table));
    vcpu.setRegister(VcpuCell.guestTable, table);
    if (old !== 0) pages.putReference(mfn(old));
  }

  /**
   * 2-level shadows made while PS meant something else are wrong as a whole, and pinned ones outlive the change. Xen
   * keeps them. Two vCPUs that differ in CR4.PSE share shadows here as there (spec 10.3).
   */
  #followPageSize(): void {
    const { domain, guest, unshadow } = this.#shadow;
    const before = domain.read(DomainCell.pageSizeMeaning);
    const now = guest.hasLargePages() ? PageSizeMeaning.honoured : PageSizeMeaning.ignored;
    if (before === now) return;
    domain.write(DomainCell.pageSizeMeaning, now);
    if (before !== PageSizeMeaning.undecided) unshadow.blowTables();
  }

  #frameOfCr3(): number {
    const { guest, p2m } = this.#shadow;
    const frame = p2m.frameOf(guest.rootGfn());
    return frame < 0 ? 0 : frame;
  }

  /** The hypervisor's own table for this vCPU costs pool pages: one for 4-level shadows, three otherwise (spec 1.6). */
  #replaceMonitorTable(levels: number): void {
    const { memory, vcpu, pool } = this.#shadow;
    const old = memory.loadGuarded(vcpu.area + VcpuCell.monitorTable);
    if (old !== 0 && memory.loadGuarded(vcpu.area + VcpuCell.monitorLevels) === levels) return;
    const pages = levels === 4 ? 1 : 3;
    if (!pool.prealloc(ShadowType.monitor_table, pages)) return;
    const monitor = pool.alloc(ShadowType.monitor_table, pages, 0);
    memory.storeGuarded(vcpu.area + VcpuCell.monitorTable, monitor);
    memory.storeGuarded(vcpu.area + VcpuCell.monitorLevels, levels);
    if (old !== 0) pool.free(mfn(old));
  }
}
