/**
 * The one way to wait. A scheduler that runs vCPUs as coroutines must know that a vCPU is blocked and on which cell, so
 * nothing in the model spins or sleeps but here.
 *
 * A cell to wait on is a pair: the value and, in the next cell, the number of sleepers, so that waking costs one load
 * when nobody sleeps. A sleeper can also be wanted for a flush, by somebody who does not know on what it sleeps: it
 * publishes the cell in its own area (`sleepsOn`), and whoever rings its doorbell wakes that cell too. Between the
 * sleeper's last look at its doorbell and its falling asleep such a ring can go unheard; the time limit of the sleep
 * bounds that to a millisecond.
 */
import type { SharedMemory } from "./shared-memory.ts";
import type { Cell } from "./units.ts";
import { Doorbell, VcpuCell } from "./vcpu-area.ts";

const SPINS = 200;
const SLEEP_MILLIS = 1;

/** What one vCPU waits with. */
export class Waiter {
  readonly #memory: SharedMemory;
  readonly #doorbell: number;
  readonly #sleepsOn: number;

  constructor(memory: SharedMemory, area: Cell) {
    this.#memory = memory;
    this.#doorbell = area + VcpuCell.doorbell;
    this.#sleepsOn = area + VcpuCell.sleepsOn;
  }

  /**
   * Waits until the cell holds something else than `value`, or a flush is asked of this vCPU. May also return for no
   * reason at all: callers look at the cell again.
   */
  waitWhile(cell: number, value: number): void {
    const memory = this.#memory;
    for (let spin = 0; spin < SPINS; spin++) {
      if (memory.loadWord(cell) !== value) return;
      if ((memory.loadWord(this.#doorbell) & Doorbell.flush) !== 0) return;
      Atomics.pause();
    }
    memory.addWord(cell + 1, 1);
    memory.storeWord(this.#sleepsOn, cell);
    if ((memory.loadWord(this.#doorbell) & Doorbell.flush) === 0) {
      Atomics.wait(memory.view, cell, value, SLEEP_MILLIS);
    }
    memory.storeWord(this.#sleepsOn, 0);
    memory.addWord(cell + 1, -1);
  }

  /** Wakes whoever sleeps on a wait pair, after its value was changed. */
  wakeSleepers(cell: number): void {
    wake(this.#memory, cell);
  }

  /** Wakes one of those who sleep on a wait pair, after its value was changed. */
  wakeSleeper(cell: number): void {
    if (this.#memory.loadWord(cell + 1) !== 0) Atomics.notify(this.#memory.view, cell, 1);
  }
}

/** Wakes whoever sleeps on a wait pair, after its value was changed. */
export function wake(memory: SharedMemory, cell: number): void {
  if (memory.loadWord(cell + 1) !== 0) Atomics.notify(memory.view, cell);
}

/** Rings the doorbell of the vCPU whose area is given, and wakes it should it sleep. */
export function ring(memory: SharedMemory, area: Cell, bits: number): void {
  memory.orWord(area + VcpuCell.doorbell, bits);
  const sleepsOn = memory.loadWord(area + VcpuCell.sleepsOn);
  if (sleepsOn !== 0) Atomics.notify(memory.view, sleepsOn);
}
