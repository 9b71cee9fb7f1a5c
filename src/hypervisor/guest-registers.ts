/**
 * Writes to the guest's control registers (spec 9.1, 10.2, 10.3): what the architecture forbids is #GP, what paging
 * depends on becomes a change of mode or of root.
 */
import { CrashReason } from "../memory/domain-area.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import { CR3_BEYOND_PHYSICAL, Cr0, Cr4, Efer } from "../machine/control-registers.ts";
import { Status } from "../machine/exits.ts";
import type { Vcpu } from "../machine/vcpu.ts";
import type { Domain } from "./domain.ts";

/** CR4 bits whose change is a change of paging mode. SMAP is left to the hardware; so are bits Umbra does not know. */
const MODE_BITS = Cr4.pse | Cr4.pae | Cr4.pge | Cr4.smep;

/** How an assistance mode follows the registers. */
export interface ModeFollower {
  /** The paging mode may have changed. False when CR3 names no memory. */
  update(): boolean;
  /** CR3 was loaded with paging on. False when it names no memory. */
  loadCr3(): boolean;
}

/** The control registers of one vCPU. */
export class GuestRegisters {
  readonly #vcpu: Vcpu;
  readonly #domain: Domain;
  readonly #follower: ModeFollower;

  constructor(vcpu: Vcpu, domain: Domain, follower: ModeFollower) {
    this.#vcpu = vcpu;
    this.#domain = domain;
    this.#follower = follower;
  }

  /** MOV CR0. */
  writeCr0(value: number): number {
    if (this.#domain.isDead()) return Status.stopped;
    const old = this.#vcpu.register(VcpuCell.cr0);
    const turnsOn = (value & Cr0.pg) !== 0 && (old & Cr0.pg) === 0;
    if ((value & Cr0.pg) !== 0 && (value & Cr0.pe) === 0) return Status.generalProtection;
    if (turnsOn && this.#wantsLongMode() && (this.#vcpu.register(VcpuCell.cr4) & Cr4.pae) === 0)
      return Status.generalProtection;
    this.#vcpu.setRegister(VcpuCell.cr0, value);
    this.#vcpu.refreshRights();
    if (((old ^ value) & Cr0.pg) === 0) return Status.done;
    return this.#follow(this.#follower.update());
  }

  /** MOV CR3. With paging on it is a TLB flush even if the value stays. */
  writeCr3(low: number, high: number): number {
    if (this.#domain.isDead()) return Status.stopped;
    if (this.#isInLongMode() && (high & CR3_BEYOND_PHYSICAL) !== 0) return Status.generalProtection;
    this.#vcpu.setRegister(VcpuCell.cr3Low, low);
    this.#vcpu.setRegister(VcpuCell.cr3High, high);
    if (this.#vcpu.register(VcpuCell.pagingOn) === 0) return Status.done;
    return this.#follow(this.#follower.loadCr3());
  }

  /** MOV CR4. */
  writeCr4(value: number): number {
    if (this.#domain.isDead()) return Status.stopped;
    const old = this.#vcpu.register(VcpuCell.cr4);
    const hasPaging = this.#vcpu.register(VcpuCell.pagingOn) !== 0;
    if (hasPaging && this.#wantsLongMode() && (value & Cr4.pae) === 0) return Status.generalProtection;
    this.#vcpu.setRegister(VcpuCell.cr4, value);
    this.#vcpu.refreshRights();
    const isModeChange = ((old ^ value) & MODE_BITS) !== 0 || (old & ~value & Cr4.pcide) !== 0;
    return isModeChange ? this.#follow(this.#follower.update()) : Status.done;
  }

  /** WRMSR of EFER. Shadows already made are left alone (spec 10.3). */
  writeEfer(value: number): number {
    if (this.#domain.isDead()) return Status.stopped;
    const old = this.#vcpu.register(VcpuCell.efer);
    const hasPaging = this.#vcpu.register(VcpuCell.pagingOn) !== 0;
    if (hasPaging && ((old ^ value) & Efer.lme) !== 0) return Status.generalProtection;
    this.#vcpu.setRegister(VcpuCell.efer, value & ~Efer.lma);
    return Status.done;
  }

  /** Hypercalls: 0 does nothing, 1 asks for the number of vCPUs; 2 is a hint, which a mode may heed or not. */
  hypercall(operation: number): number {
    if (this.#domain.isDead()) return Status.stopped;
    this.#vcpu.resultLow = operation === 1 ? this.#vcpu.layout.sizes.vcpus : 0;
    return Status.done;
  }

  #isInLongMode(): boolean {
    return this.#wantsLongMode() && this.#vcpu.register(VcpuCell.pagingOn) !== 0;
  }

  #wantsLongMode(): boolean {
    return (this.#vcpu.register(VcpuCell.efer) & Efer.lme) !== 0;
  }

  #follow(hasRoot: boolean): number {
    if (!hasRoot)
      this.#domain.crash(CrashReason.noMemoryForRoot, this.#vcpu.register(VcpuCell.cr3Low) >>> 12);
    return this.#domain.isDead() ? Status.stopped : Status.done;
  }
}
