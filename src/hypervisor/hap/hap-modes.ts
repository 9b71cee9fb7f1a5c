/** The life of a vCPU in hap mode, and changes of its paging mode: little, as hardware follows the registers itself. */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { guestPagingLevels } from "../../machine/control-registers.ts";
import type { ModeFollower } from "../guest-registers.ts";
import type { Hap } from "./hap.ts";

/** Follows the control registers of one vCPU. */
export class HapModes implements ModeFollower {
  readonly #hap: Hap;

  constructor(hap: Hap) {
    this.#hap = hap;
  }

  /** The vCPU's hardware gets the p2m tables, and the mode that its registers ask for. */
  init(): void {
    const { lock, domain, vcpu } = this.#hap;
    lock.acquire(LockSite.vcpu_init);
    vcpu.setRegister(VcpuCell.nestedRoot, domain.read(DomainCell.p2mRoot));
    lock.release();
    this.update();
  }

  /**
   * Follows a change of CR0.PG, CR4 or the long-mode bits. With paging on hardware begins at CR3, whatever it names: a root
   * that is no memory is met by the next walk. With paging off a linear address is a guest physical one; the hypervisor's
   * own walks then use the identity table, as in shadow mode.
   */
  update(): boolean {
    const { lock, counters, guest, vcpu, domain } = this.#hap;
    lock.acquire(LockSite.update_paging_modes);
    counters.add(Counter.update_paging_modes);
    const levels = guestPagingLevels(
      guest.register(VcpuCell.cr0),
      guest.register(VcpuCell.cr4),
      guest.register(VcpuCell.efer),
    );
    vcpu.setRegister(VcpuCell.pagingOn, levels === 0 ? 0 : 1);
    vcpu.setRegister(VcpuCell.guestLevels, levels === 0 ? 2 : levels);
    vcpu.setRegister(VcpuCell.shadowLevels, levels === 4 ? 4 : 3);
    this.#setIdentityTable(levels === 0 ? domain.read(DomainCell.unpagedTable) : 0);
    vcpu.nested.reloadPdptes();
    vcpu.refreshRights();
    vcpu.mailbox.flushLocal();
    lock.release();
    return true;
  }

  /** Never called: MOV CR3 is no exit. */
  loadCr3(): boolean {
    throw new Error("MOV CR3 exits, but hardware walks the guest's tables");
  }

  /** The vCPU gives up what it holds. */
  teardown(): void {
    const { lock, vcpu } = this.#hap;
    lock.acquire(LockSite.vcpu_teardown);
    this.#setIdentityTable(0);
    vcpu.setRegister(VcpuCell.nestedRoot, 0);
    vcpu.setRegister(VcpuCell.shadowLevels, 0);
    lock.release();
  }

  /** Holds the identity table while the guest's paging is off (0: not). */
  #setIdentityTable(table: number): void {
    const { vcpu, pages } = this.#hap;
    const old = vcpu.register(VcpuCell.guestTable);
    if (old === table) return;
    if (table !== 0) pages.getReference(mfn(table));
    vcpu.setRegister(VcpuCell.guestTable, table);
    if (old !== 0) pages.putReference(mfn(old));
  }
}
