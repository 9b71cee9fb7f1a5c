/**
 * How a kernel waits: spinlocks in guest memory, taken by guest compare-exchange, whose waiters halt after a while and
 * are kicked by whoever lets go, as paravirtual spinlocks do. A vCPU that waits takes interrupts all the while.
 *
 * What is waited on is a pair of words: the value, and one bit for each vCPU that may be halted because of it. A waiter
 * sets its bit and only then looks at the value for the last time; who changes the value looks at the bits afterwards. So
 * one of them sees the other.
 */
import type { Cpu } from "../cpu.ts";

/** One vCPU's waiting. */
export class Waits {
  readonly #cpu: Cpu;
  readonly #spins: number;

  constructor(cpu: Cpu, spins: number) {
    this.#cpu = cpu;
    this.#spins = spins;
  }

  /** Takes the lock at an address. Not recursive. */
  lockAt(address: number): void {
    const cpu = this.#cpu;
    const mine = cpu.id + 1;
    while (!cpu.compareExchange32(address, 0, mine)) {
      const holder = cpu.found;
      if (holder === mine) cpu.panic("guest", "a kernel lock is taken twice by one vCPU");
      this.waitWhileIs(address, holder);
    }
  }

  /** Takes the lock at an address if it is free. */
  tryLockAt(address: number): boolean {
    return this.#cpu.compareExchange32(address, 0, this.#cpu.id + 1);
  }

  /** Lets go of the lock at an address, and wakes one of those who wait for it. */
  unlockAt(address: number): void {
    const cpu = this.#cpu;
    if (!cpu.compareExchange32(address, cpu.id + 1, 0)) {
      cpu.panic("memory", `a kernel lock held by vCPU ${String(cpu.id)} contains ${String(cpu.found)}`);
    }
    const sleepers = cpu.load32(address + 4);
    if (sleepers !== 0) cpu.kick(nextBit(sleepers, cpu.id));
  }

  /** Returns when the first word of a pair may differ from `value`. May return for no reason. */
  waitWhileIs(address: number, value: number): void {
    const cpu = this.#cpu;
    for (let spin = 0; spin < this.#spins; spin++) {
      if (cpu.load32(address) !== value) return;
    }
    const mine = 1 << cpu.id;
    cpu.updateBits32(address + 4, 0, mine);
    // HLT with interrupts off returns at once when one is pending: a kick between the look and the sleep is not lost.
    cpu.disableInterrupts();
    if (cpu.load32(address) === value) cpu.halt();
    cpu.enableInterrupts();
    cpu.updateBits32(address + 4, mine, 0);
  }

  /** Wakes everybody who waits on a pair, after its first word was changed. */
  wakeAll(address: number): void {
    const sleepers = this.#cpu.load32(address + 4);
    for (let id = 0; sleepers >>> id !== 0 && id < 32; id++) {
      if (((sleepers >>> id) & 1) !== 0) this.#cpu.kick(id);
    }
  }
}

/** The lowest bit set that is above `after`, else the lowest of all: everybody's turn comes. */
function nextBit(bits: number, after: number): number {
  const above = after >= 31 ? 0 : bits & (-2 << after);
  const from = above === 0 ? bits : above;
  return 31 - Math.clz32(from & -from);
}
