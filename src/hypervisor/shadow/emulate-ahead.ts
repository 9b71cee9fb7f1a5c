/**
 * Emulate-ahead (spec 5.6): a PAE kernel writes an entry as two halves, so after an emulated store the emulator stays in
 * control for a few more of the guest's operations, and the second half costs no exit.
 *
 * Nobody needs to know the guest's future for that: while the emulator is in control, the operation that the guest begins
 * next comes to it instead of to hardware. What it cannot do, or may not, it leaves alone: the guest resumes at that very
 * operation. So do an interrupt and every instruction that is none of memory end it.
 */
import { Counter } from "../../memory/counters.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { FaultAnswer, Status } from "../../machine/exits.ts";
import type { Shadow } from "./shadow.ts";

const AHEAD_MAX = 4;
const PAE = 3;

/** Has the emulator execute what comes after a store to a pagetable. The caller does not hold the lock. */
export class EmulateAhead {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * What faulted has been emulated: the emulator stays in control of a PAE guest. Machine code is at hand, and executed at
   * once (`answer` is `resume`); of other guests the next operation is awaited.
   */
  begin(answer: number): void {
    const { vcpu, guest } = this.#shadow;
    if (guest.format() !== PAE) return;
    if (answer === FaultAnswer.resume) this.#executeInstructions();
    else if (!vcpu.code.isExecuting) vcpu.aheadLeft = AHEAD_MAX;
  }

  /** Executes the vCPU's operation in flight. False, and the guest resumes at it, if that is not to be. */
  executeNext(): boolean {
    const { vcpu, domain } = this.#shadow;
    const left = vcpu.aheadLeft;
    vcpu.aheadLeft = 0;
    // A kernel's pagetables are written by the kernel: the emulator does not follow it to user mode.
    const isDone = vcpu.accessBits === 0 && !domain.isDead() && this.#emulate(false);
    if (this.#count(isDone)) vcpu.aheadLeft = left - 1;
    return isDone;
  }

  /** Executes the instructions at RIP. What one that fails would do to the guest, it does when the guest resumes at it. */
  #executeInstructions(): void {
    let left = AHEAD_MAX;
    while (left > 0 && this.#count(this.#emulate(true))) left--;
  }

  /** Counts what came of an operation; true if the emulator goes on. */
  #count(isDone: boolean): boolean {
    const { counters, emulation } = this.#shadow;
    if (!isDone) counters.add(Counter.em_ex_fail);
    else if (emulation.wasPagetable) counters.add(Counter.em_ex_pt);
    else {
      counters.add(Counter.em_ex_non_pt);
      return true;
    }
    return false;
  }

  /** Executes the instruction at RIP, or the operation in flight. */
  #emulate(isInstruction: boolean): boolean {
    const { emulation, instructions, lock, emulatesUnlocked } = this.#shadow;
    const isLocked = !emulatesUnlocked;
    emulation.wasPagetable = false;
    emulation.isAhead = true;
    if (isLocked) lock.acquire(LockSite.emulate_write);
    const isDone = isInstruction ? instructions.executeNext() === Status.done : emulation.emulateNext();
    if (isLocked) lock.release();
    emulation.isAhead = false;
    return isDone;
  }
}
