/**
 * The queue lock of Mellor-Crummey and Scott ("Algorithms for scalable synchronization", 1991): the order is that of arrival,
 * and each waits on a word of its own, in a cache line of its own, which its predecessor alone writes. Whoever leaves costs
 * one other a miss, however many wait.
 *
 * A vCPU has one node for each lock, since it may hold several; a vCPU is its number plus 1, 0 nobody.
 */
import { LOCK_NAMES, QUEUE_NODE_WORDS } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Gate, GateParts } from "./gate.ts";
import { LockCell, QueueCell, lockArea, queueNode } from "./lock-area.ts";
import type { LockOwner, Waker } from "./lock-owner.ts";

const NOBODY = 0;
const CALLED = 0;
const WAITING = 1;
const NODE_WAITS = QueueCell.waits;
const NODE_NEXT = QueueCell.next;
const NODES_WORDS = LOCK_NAMES.length * QUEUE_NODE_WORDS;

/** A gate with a queue of nodes. */
export class McsGate implements Gate {
  readonly #memory: SharedMemory;
  readonly #owner: LockOwner;
  readonly #waiter: Waker;
  readonly #me: number;
  readonly #tail: number;
  /** Node of nobody: that of vCPU v + 1 lies so many times `NODES_WORDS` behind it. */
  readonly #nodes: number;
  readonly #waits: number;
  readonly #next: number;
  /** Whom this vCPU found before it in the queue. */
  #predecessor = NOBODY;

  constructor({ memory, layout, owner, lock }: GateParts) {
    const node = queueNode(layout, owner.id, lock);
    this.#memory = memory;
    this.#owner = owner;
    this.#waiter = owner.waiter;
    this.#me = owner.id + 1;
    this.#tail = lockArea(layout, lock) + LockCell.queueTail;
    this.#nodes = node - this.#me * NODES_WORDS;
    this.#waits = node + NODE_WAITS;
    this.#next = node + NODE_NEXT;
  }

  arrive(): boolean {
    const memory = this.#memory;
    memory.storeWord(this.#next, NOBODY);
    this.#predecessor = memory.exchangeWord(this.#tail, this.#me);
    return this.#predecessor === NOBODY;
  }

  /** Nobody can call this vCPU before its predecessor knows of it. */
  waitForTurn(): void {
    const memory = this.#memory;
    memory.storeWord(this.#waits, WAITING);
    const link = this.#nodes + this.#predecessor * NODES_WORDS + NODE_NEXT;
    memory.storeWord(link, this.#me);
    this.#waiter.wakeSleepers(link);
    while (memory.loadWord(this.#waits) !== CALLED) this.#owner.waitServing(this.#waits, WAITING);
  }

  passOn(): void {
    const memory = this.#memory;
    let next = memory.loadWord(this.#next);
    if (next === NOBODY) {
      if (memory.compareExchangeWord(this.#tail, this.#me, NOBODY) === this.#me) return;
      // Somebody has come, and is about to say who.
      for (;;) {
        next = memory.loadWord(this.#next);
        if (next !== NOBODY) break;
        this.#owner.waitServing(this.#next, NOBODY);
      }
    }
    const waits = this.#nodes + next * NODES_WORDS + NODE_WAITS;
    memory.storeWord(waits, CALLED);
    this.#waiter.wakeSleepers(waits);
  }

  isTaken(): boolean {
    return this.#memory.loadWord(this.#tail) !== NOBODY;
  }
}
