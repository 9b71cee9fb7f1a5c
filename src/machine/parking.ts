/** Standing still between two operations: while the engine looks at the machine, or the toolstack has paused the domain. */
import { DomainCell } from "../memory/domain-area.ts";
import { Doing, Doorbell, VcpuCell, VcpuState } from "../memory/vcpu-area.ts";
import type { Vcpu } from "./vcpu.ts";

/** Offset in the control region of the word that is 1 while vCPUs shall stay parked; a wait pair. */
export const PARK_CELL = 4;

/** One vCPU's parking. */
export class Parking {
  readonly #vcpu: Vcpu;
  readonly #parkCell: number;
  readonly #pauseCell: number;
  /** The cell that keeps the vCPU parked, and what is in it. */
  #heldBy = 0;
  #heldValue = 0;

  constructor(vcpu: Vcpu) {
    const { control, domain } = vcpu.layout.regions;
    this.#vcpu = vcpu;
    this.#parkCell = control.offset + PARK_CELL;
    this.#pauseCell = domain.offset + DomainCell.pauses;
  }

  /** Stays parked for as long as anybody wants. */
  park(): void {
    const vcpu = this.#vcpu;
    vcpu.noteDoing(Doing.parked);
    vcpu.memory.andWord(vcpu.area + VcpuCell.doorbell, ~Doorbell.park);
    this.#stay();
    vcpu.noteDoing(Doing.guest);
  }

  /**
   * Stays parked while a cell has a value, then for as long as anybody wants. It may return early: callers look again. In
   * the middle of an exit, but with no lock held and no translation in use.
   */
  parkWhile(cell: number, value: number): void {
    const vcpu = this.#vcpu;
    const doing = vcpu.register(VcpuCell.doing);
    vcpu.noteDoing(Doing.parked);
    vcpu.mailbox.setState(VcpuState.parked);
    vcpu.mailbox.serve();
    vcpu.waiter.waitWhile(cell, value);
    this.#stay();
    vcpu.noteDoing(doing);
  }

  #stay(): void {
    const vcpu = this.#vcpu;
    // Asked again once it counts as running: whoever asked meanwhile may have taken it for parked still.
    do {
      vcpu.mailbox.setState(VcpuState.parked);
      while (this.#isHeld()) {
        vcpu.mailbox.serve();
        vcpu.waiter.waitWhile(this.#heldBy, this.#heldValue);
      }
      vcpu.mailbox.setState(VcpuState.running);
    } while (this.#isHeld());
  }

  /** Whether the engine or the toolstack wants the vCPU to stay parked; notes which. */
  #isHeld(): boolean {
    const { memory } = this.#vcpu;
    this.#heldBy = this.#parkCell;
    this.#heldValue = memory.loadWord(this.#parkCell);
    if (this.#heldValue === 1) return true;
    this.#heldBy = this.#pauseCell;
    this.#heldValue = memory.loadWord(this.#pauseCell);
    return this.#heldValue !== 0;
  }
}
