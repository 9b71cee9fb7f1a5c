/**
 * The lock of Xen 3 (x86 `spin_lock`): one word, and whoever finds it free takes it, newcomers before those who wait. A
 * waiter only reads until the word is free, and tries then; after a while it sleeps (wait.ts).
 */
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Gate, GateParts } from "./gate.ts";
import { LockCell, lockArea } from "./lock-area.ts";
import type { LockOwner, Waker } from "./lock-owner.ts";

const FREE = 0;
const HELD = 1;

/** A gate with one word. */
export class TestAndSetGate implements Gate {
  readonly #memory: SharedMemory;
  readonly #owner: LockOwner;
  readonly #waiter: Waker;
  readonly #held: number;

  constructor({ memory, layout, owner, lock }: GateParts) {
    this.#memory = memory;
    this.#owner = owner;
    this.#waiter = owner.waiter;
    this.#held = lockArea(layout, lock) + LockCell.held;
  }

  arrive(): boolean {
    return this.#memory.compareExchangeWord(this.#held, FREE, HELD) === FREE;
  }

  waitForTurn(): void {
    do {
      this.#owner.waitServing(this.#held, HELD);
    } while (this.#memory.compareExchangeWord(this.#held, FREE, HELD) !== FREE);
  }

  passOn(): void {
    this.#memory.storeWord(this.#held, FREE);
    this.#waiter.wakeSleepers(this.#held);
  }

  isTaken(): boolean {
    return this.#memory.loadWord(this.#held) !== FREE;
  }
}
