/**
 * The ticket lock (Mellor-Crummey and Scott 1991; Xen since 4.7): each draws a number and waits until it is called, so that
 * the order is that of arrival. All wait on the same word, which costs each of them a miss whenever anybody leaves.
 */
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Gate, GateParts } from "./gate.ts";
import { LockCell, lockArea } from "./lock-area.ts";
import type { LockOwner, Waker } from "./lock-owner.ts";

/** A gate with a number for each who comes. */
export class TicketGate implements Gate {
  readonly #memory: SharedMemory;
  readonly #owner: LockOwner;
  readonly #waiter: Waker;
  readonly #nextTicket: number;
  readonly #nowServing: number;
  /** What this vCPU drew last. */
  #ticket = 0;

  constructor({ memory, layout, owner, lock }: GateParts) {
    const area = lockArea(layout, lock);
    this.#memory = memory;
    this.#owner = owner;
    this.#waiter = owner.waiter;
    this.#nextTicket = area + LockCell.nextTicket;
    this.#nowServing = area + LockCell.nowServing;
  }

  arrive(): boolean {
    this.#ticket = this.#memory.addWord(this.#nextTicket, 1);
    return this.#memory.loadWord(this.#nowServing) === this.#ticket;
  }

  waitForTurn(): void {
    let serving = this.#memory.loadWord(this.#nowServing);
    while (serving !== this.#ticket) {
      this.#owner.waitServing(this.#nowServing, serving);
      serving = this.#memory.loadWord(this.#nowServing);
    }
  }

  passOn(): void {
    this.#memory.addWord(this.#nowServing, 1);
    this.#waiter.wakeSleepers(this.#nowServing);
  }

  isTaken(): boolean {
    const serving = this.#memory.loadWord(this.#nowServing);
    return this.#memory.loadWord(this.#nextTicket) !== serving;
  }
}
