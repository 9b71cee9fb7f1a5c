/**
 * The shortcut for stores to pagetables in a row (spec 4.2): when a supervisor's write faults on the page that the last
 * emulated store went to, it is most likely one more of them, so it is emulated without the fault handler's own walk and
 * hold of the lock. The emulator translates afresh anyway; the page remembered is a hint, good for unshadowing only.
 */
import { Counter } from "../../memory/counters.ts";
import { NO_MFN, vcpuId } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { FaultAnswer } from "../../machine/exits.ts";
import { SLOW_PATH } from "./fast-path.ts";
import type { Shadow } from "./shadow.ts";

const CELL_MAY_EMULATE = VcpuCell.mayEmulateFast;
/** A supervisor's write to a present page. */
const PRESENT_WRITE = 1 | 2;

/** Remembers the last emulated store of one vCPU. */
export class FastEmulate {
  readonly #shadow: Shadow;
  #pageLow = 0;
  #pageHigh = 0;
  #frame: Mfn = NO_MFN;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** Answers a fault with a `FaultAnswer`, or with SLOW_PATH. The caller does not hold the lock. */
  answer(errorCode: number): number {
    const { memory, vcpu, counters } = this.#shadow;
    if (memory.loadWord(vcpu.area + CELL_MAY_EMULATE) === 0) return SLOW_PATH;
    if (this.#pageLow !== vcpu.faultLow >>> 12 || this.#pageHigh !== vcpu.faultHigh) return SLOW_PATH;
    if (errorCode !== PRESENT_WRITE) {
      this.forget();
      return SLOW_PATH;
    }
    counters.add(Counter.fault_fast_emulate);
    const answer = this.#emulate();
    if (answer !== FaultAnswer.emulated && answer !== FaultAnswer.resume) {
      counters.add(Counter.fault_fast_emulate_fail);
      this.forget();
    }
    return answer;
  }

  /** The operation in flight has been emulated, on what is still a pagetable. Callers hold the lock. */
  noteEmulated(frame: Mfn): void {
    const { memory, vcpu } = this.#shadow;
    this.#pageLow = vcpu.addressLow >>> 12;
    this.#pageHigh = vcpu.addressHigh;
    this.#frame = frame;
    memory.storeWord(vcpu.area + CELL_MAY_EMULATE, 1);
  }

  /** The next write takes the slow path. */
  forget(): void {
    const { memory, vcpu, switches } = this.#shadow;
    if (switches["fast-emulate"]) memory.storeWord(vcpu.area + CELL_MAY_EMULATE, 0);
  }

  /** A shadow page was freed, perhaps that of the page which some vCPU remembers. */
  forgetEverywhere(): void {
    const { memory, layout, config, switches } = this.#shadow;
    if (!switches["fast-emulate"]) return;
    for (let id = 0; id < config.vcpus; id++)
      memory.storeWord(vcpuArea(layout, vcpuId(id)) + CELL_MAY_EMULATE, 0);
  }

  #emulate(): number {
    const { emulatesUnlocked, lock, instructions } = this.#shadow;
    if (emulatesUnlocked) return instructions.emulateFaulting(this.#frame);
    lock.acquire(LockSite.emulate_write);
    const answer = instructions.emulateFaulting(this.#frame);
    lock.release();
    return answer;
  }
}
