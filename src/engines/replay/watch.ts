/** Whether the vCPUs of a replay get on, and what each is at when they do not. Read from outside, while threads may run. */
import { describeLock } from "../../locks/lock-statistics.ts";
import type { Machine } from "../../hypervisor/machine.ts";
import { vcpuId } from "../../memory/units.ts";
import { Doing, VcpuCell, VcpuState, vcpuArea } from "../../memory/vcpu-area.ts";

const DOING_NAMES = new Map<number, string>([
  [Doing.guest, "its records, or its turn to come"],
  [Doing.pageFault, "a page fault"],
  [Doing.writeCr, "a control register write"],
  [Doing.invlpg, "INVLPG"],
  [Doing.flushWait, "waiting for a flush"],
  [Doing.lockWait, "waiting for a lock"],
]);

/** Watches one machine. */
export class Watch {
  readonly #machine: Machine;
  readonly #vcpus: readonly number[];
  #beats = 0;
  #movedAt = performance.now();
  #haveAllStarted = false;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#vcpus = Array.from({ length: machine.config.vcpus }, (_, vcpu) => vcpu);
  }

  /** Whether every vCPU's thread has come to run it. Until then those that have wait. */
  get haveAllStarted(): boolean {
    return this.#haveAllStarted;
  }

  /** Looks at every vCPU. At least once in 2^32 operations of all. */
  sample(): void {
    let beats = 0;
    for (const vcpu of this.#vcpus) beats = (beats + this.#read(vcpu, VcpuCell.heartbeat)) | 0;
    this.#haveAllStarted ||= this.#vcpus.every((vcpu) => this.#read(vcpu, VcpuCell.state) !== VcpuState.off);
    if (beats === this.#beats && this.#haveAllStarted) return;
    this.#beats = beats;
    this.#movedAt = performance.now();
  }

  /** For how long no vCPU has begun an operation, though all could have. */
  stillSeconds(): number {
    return (performance.now() - this.#movedAt) / 1000;
  }

  /** What every vCPU is at, in one line. */
  describe(): string {
    return this.#vcpus.map((vcpu) => `vCPU ${vcpu} is at ${this.#doing(vcpu)}`).join("; ");
  }

  #doing(vcpu: number): string {
    if (this.#read(vcpu, VcpuCell.state) === VcpuState.ended) return "its end";
    const lock = this.#read(vcpu, VcpuCell.waitsForLock);
    if (lock > 0) {
      const { name } = describeLock(this.#machine.memory, this.#machine.layout, lock - 1);
      return `the ${name} lock, waiting`;
    }
    const doing = this.#read(vcpu, VcpuCell.doing);
    return DOING_NAMES.get(doing) ?? `activity ${doing}`;
  }

  #read(vcpu: number, offset: number): number {
    const { memory, layout } = this.#machine;
    return memory.loadWord(vcpuArea(layout, vcpuId(vcpu)) + offset);
  }
}
