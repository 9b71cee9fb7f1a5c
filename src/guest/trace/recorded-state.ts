/** The state of a CPU as a block of state records gives it, to be taken on at the end of the block. */
import { Cr0, Efer } from "../../machine/control-registers.ts";
import { Status } from "../../machine/exits.ts";
import type { Vcpu } from "../../machine/vcpu.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import type { TraceCursor } from "./cursor.ts";
import { RecordType } from "./record.ts";

const DONE = Status.done;

/** Control registers that a trace names; those not named keep their values. */
export class RecordedState {
  readonly #vcpu: Vcpu;
  #cr0: number | undefined;
  #cr4: number | undefined;
  #efer: number | undefined;
  #cr2: readonly [low: number, high: number] | undefined;
  #cr3: readonly [low: number, high: number] | undefined;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
  }

  /** Takes in a state record. */
  note({ type, a, xLow, xHigh }: TraceCursor): void {
    if (type === RecordType.efer) this.#efer = xLow;
    else if (a === 0) this.#cr0 = xLow;
    else if (a === 2) this.#cr2 = [xLow, xHigh];
    else if (a === 3) this.#cr3 = [xLow, xHigh];
    else this.#cr4 = xLow;
  }

  /**
   * Writes what differs, in an order that a CPU permits: paging goes off first and on last. Returns the `Status` of the
   * write that was refused, or that all was done.
   */
  applyNext(): number {
    const vcpu = this.#vcpu;
    const cr0 = this.#cr0 ?? vcpu.register(VcpuCell.cr0);
    let status: number = DONE;
    if ((cr0 & Cr0.pg) === 0) status = this.#applyCr0(cr0);
    if (status === DONE) status = this.#applyCr4AndEfer();
    if (status === DONE && this.#cr3 !== undefined) status = this.#applyCr3(...this.#cr3);
    if (status === DONE) status = this.#applyCr0(cr0);
    if (status === DONE && this.#cr2 !== undefined) {
      vcpu.setRegister(VcpuCell.cr2Low, this.#cr2[0]);
      vcpu.setRegister(VcpuCell.cr2High, this.#cr2[1]);
    }
    this.#forget();
    return status;
  }

  #applyCr0(value: number): number {
    return value === this.#vcpu.register(VcpuCell.cr0) ? DONE : this.#vcpu.writeCr0(value);
  }

  #applyCr3(low: number, high: number): number {
    const vcpu = this.#vcpu;
    const isSame = low === vcpu.register(VcpuCell.cr3Low) && high === vcpu.register(VcpuCell.cr3High);
    return isSame ? DONE : vcpu.writeCr3(low, high);
  }

  /** LMA is left out: it is made of LME and CR0.PG. */
  #applyCr4AndEfer(): number {
    const vcpu = this.#vcpu;
    const cr4 = this.#cr4 ?? vcpu.register(VcpuCell.cr4);
    const efer = this.#efer ?? vcpu.register(VcpuCell.efer);
    let status: number = DONE;
    if (cr4 !== vcpu.register(VcpuCell.cr4)) status = vcpu.writeCr4(cr4);
    if (status === DONE && ((efer ^ vcpu.register(VcpuCell.efer)) & ~Efer.lma) !== 0) {
      status = vcpu.writeEfer(efer);
    }
    return status;
  }

  #forget(): void {
    this.#cr0 = undefined;
    this.#cr2 = undefined;
    this.#cr3 = undefined;
    this.#cr4 = undefined;
    this.#efer = undefined;
  }
}
