/**
 * Drepper's three-state mutex ("Futexes Are Tricky", 2011): free, held, or held while somebody may wait. Whoever leaves it
 * wakes one other, and only if somebody may wait; whoever finds it free takes it, newcomers before the one that was woken.
 */
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Gate, GateParts } from "./gate.ts";
import { LockCell, lockArea } from "./lock-area.ts";
import type { LockOwner, Waker } from "./lock-owner.ts";

const FREE = 0;
const HELD = 1;
const CONTENDED = 2;

/** A gate with three states. */
export class FutexGate implements Gate {
  readonly #memory: SharedMemory;
  readonly #owner: LockOwner;
  readonly #waiter: Waker;
  readonly #state: number;

  constructor({ memory, layout, owner, lock }: GateParts) {
    this.#memory = memory;
    this.#owner = owner;
    this.#waiter = owner.waiter;
    this.#state = lockArea(layout, lock) + LockCell.state;
  }

  arrive(): boolean {
    return this.#memory.compareExchangeWord(this.#state, FREE, HELD) === FREE;
  }

  /** Leaves the lock contended even if nobody else waits: that costs a spare waking, never a lost one. */
  waitForTurn(): void {
    while (this.#memory.exchangeWord(this.#state, CONTENDED) !== FREE)
      this.#owner.waitServing(this.#state, CONTENDED);
  }

  passOn(): void {
    if (this.#memory.exchangeWord(this.#state, FREE) === CONTENDED) this.#waiter.wakeSleeper(this.#state);
  }

  isTaken(): boolean {
    return this.#memory.loadWord(this.#state) !== FREE;
  }
}
