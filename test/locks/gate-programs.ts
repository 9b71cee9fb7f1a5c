/**
 * Threads that take turns at a gate, for the explorer. They sleep as a kernel's threads do: nobody who has fallen asleep
 * wakes without being woken, so that a wakeup that is lost is a thread that never goes on. (`waitWhile` of the explorer
 * sees every change, and may, since real waiters look again after a millisecond.)
 */
import { Condition, Lock } from "../../src/engines/explore/program-world.ts";
import type { ProgramWorld, Thread } from "../../src/engines/explore/program-world.ts";
import { FutexGate } from "../../src/locks/futex.ts";
import { gateOf } from "../../src/locks/gate.ts";
import type { Gate, GateParts, LockKind } from "../../src/locks/gate.ts";
import { LockCell, QueueCell, lockArea, queueNode } from "../../src/locks/lock-area.ts";
import type { LockOwner, Waker } from "../../src/locks/lock-owner.ts";
import { LockWaits } from "../../src/locks/lock-waits.ts";
import { Divided, LockOfPage } from "./page-gates.ts";
import { McsGate } from "../../src/locks/mcs.ts";
import { TestAndSetGate } from "../../src/locks/test-and-set.ts";
import { TicketGate } from "../../src/locks/ticket.ts";
import { layOut } from "../../src/memory/layout.ts";
import type { Layout } from "../../src/memory/layout.ts";
import type { SharedMemory } from "../../src/memory/shared-memory.ts";

export const VISITORS_MAX = 3;
export const LAYOUT: Layout = layOut({
  vcpus: VISITORS_MAX,
  frames: 1,
  ramPages: 1,
  tlbSets: 1,
  tlbWays: 1,
  structureCacheEntries: 0,
});
export const LOCK = 1;
const AREA = lockArea(LAYOUT, LOCK);
/** Cells behind the machine: how many are inside, visits, the kernel's lock, and its queue of sleepers for each cell. */
export const INSIDE: number = LAYOUT.words;
const VISITS = INSIDE + 1;
const KERNEL = INSIDE + 2;
const QUEUES = INSIDE + 3;
export const WORDS: number = 2 * QUEUES;

/** What is to be executed; set before each series. */
export const ORDER = { kind: "ticket" as Fault | LockKind | PageGate, visitors: 2, visits: 1 };
/** Visitors in the order in which they were let in. */
export const ENTERED: number[] = [];

/** A thread of an operating system, with futex(2). */
export class Visitor implements LockOwner, Waker {
  readonly id: number;
  readonly clock = { now: (): number => 0 };
  readonly lockWaits = new LockWaits();
  readonly waiter: Waker = this;
  readonly #memory: SharedMemory;
  readonly #kernel = new Lock(KERNEL);

  constructor(id: number, memory: SharedMemory) {
    this.id = id;
    this.#memory = memory;
  }

  waitServing(cell: number, value: number): void {
    const queue = new Condition(QUEUES + cell);
    this.#memory.addWord(cell + 1, 1);
    this.#kernel.enterLock();
    if (this.#memory.loadWord(cell) === value) {
      queue.suspendOn(this.#kernel);
      queue.resumeFrom(this.#kernel);
    }
    this.#kernel.leaveLock();
    this.#memory.addWord(cell + 1, -1);
  }

  wakeSleepers(cell: number): void {
    if (this.#memory.loadWord(cell + 1) === 0) return;
    this.#kernel.enterLock();
    new Condition(QUEUES + cell).signalAll();
    this.#kernel.leaveLock();
  }

  wakeSleeper(cell: number): void {
    if (this.#memory.loadWord(cell + 1) === 0) return;
    this.#kernel.enterLock();
    new Condition(QUEUES + cell).signalOne();
    this.#kernel.leaveLock();
  }

  reportViolation(): void {}

  noteWaiting(): void {}
}

/** Finds the lock free, and takes it then. */
class HastyTestAndSet extends TestAndSetGate {
  readonly #memory: SharedMemory;

  constructor(parts: GateParts) {
    super(parts);
    this.#memory = parts.memory;
  }

  override arrive(): boolean {
    if (this.#memory.loadWord(AREA + LockCell.held) !== 0) return false;
    this.#memory.storeWord(AREA + LockCell.held, 1);
    return true;
  }
}

/** Draws a number by a load and a store, between which another may have drawn the same. */
class HastyTicket extends TicketGate {
  readonly #parts: GateParts;
  #ticket = 0;

  constructor(parts: GateParts) {
    super(parts);
    this.#parts = parts;
  }

  override arrive(): boolean {
    const { memory } = this.#parts;
    this.#ticket = memory.loadWord(AREA + LockCell.nextTicket);
    memory.storeWord(AREA + LockCell.nextTicket, this.#ticket + 1);
    return memory.loadWord(AREA + LockCell.nowServing) === this.#ticket;
  }

  override waitForTurn(): void {
    const { memory, owner } = this.#parts;
    const nowServing = AREA + LockCell.nowServing;
    while (memory.loadWord(nowServing) !== this.#ticket) owner.waitServing(nowServing, this.#ticket - 1);
  }
}

/** Whoever finds nobody behind itself leaves, although somebody has come who has not said so yet. */
class HastyMcs extends McsGate {
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    super(parts);
    this.#parts = parts;
  }

  override passOn(): void {
    const { memory, owner } = this.#parts;
    const me = owner.id + 1;
    const hasNobody = memory.loadWord(queueNode(LAYOUT, owner.id, LOCK) + QueueCell.next) === 0;
    if (!hasNobody) super.passOn();
    else memory.compareExchangeWord(AREA + LockCell.queueTail, me, 0);
  }
}

/** Whoever was woken forgets that there may be others who sleep. */
class ForgetfulFutex extends FutexGate {
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    super(parts);
    this.#parts = parts;
  }

  override waitForTurn(): void {
    const { memory, owner } = this.#parts;
    const state = AREA + LockCell.state;
    while (memory.compareExchangeWord(state, 0, 1) !== 0) {
      memory.compareExchangeWord(state, 1, 2);
      owner.waitServing(state, 2);
    }
  }
}

/** Looks whether anybody waits, and frees the lock then. */
class HastyFutex extends FutexGate {
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    super(parts);
    this.#parts = parts;
  }

  override passOn(): void {
    const { memory, owner } = this.#parts;
    const state = AREA + LockCell.state;
    const mayWait = memory.loadWord(state) === 2;
    memory.storeWord(state, 0);
    if (mayWait) owner.waiter.wakeSleeper(state);
  }
}

/** Every gate that is wrong. */
export type Fault =
  | "hasty test-and-set"
  | "hasty ticket"
  | "hasty mcs"
  | "forgetful futex"
  | "hasty futex"
  | "hasty page"
  | "hasty part"
  | "hasty whole";

/** What else one can stand at: the lock of a page; a lock that the second visitor holds in part, the others whole. */
export type PageGate = "page" | "parts";

function gateFor(kind: LockKind | Fault | PageGate, parts: GateParts): Gate {
  if (kind === "page" || kind === "hasty page") return new LockOfPage(parts, kind === "hasty page");
  if (kind === "parts" || kind === "hasty part" || kind === "hasty whole") return new Divided(parts, kind);
  if (kind === "hasty test-and-set") return new HastyTestAndSet(parts);
  if (kind === "hasty ticket") return new HastyTicket(parts);
  if (kind === "hasty mcs") return new HastyMcs(parts);
  if (kind === "forgetful futex") return new ForgetfulFutex(parts);
  if (kind === "hasty futex") return new HastyFutex(parts);
  return gateOf(kind, parts);
}

/** Room that a visitor takes up who is to be alone. */
const WHOLE = 16;

function visit(world: ProgramWorld, id: number): void {
  const { memory } = world;
  const gate = gateFor(ORDER.kind, { memory, layout: LAYOUT, owner: new Visitor(id, memory), lock: LOCK });
  for (let visits = 0; visits < ORDER.visits; visits++) {
    if (!gate.arrive()) gate.waitForTurn();
    ENTERED.push(id);
    // Whoever has a part may meet others who have one.
    const isInPart = gate instanceof Divided && gate.isInPart;
    const room = isInPart ? 1 : WHOLE;
    const others = memory.addWord(INSIDE, room);
    world.check(isInPart ? others < WHOLE : others === 0, "two are inside at once");
    memory.addWord(VISITS, 1);
    memory.addWord(INSIDE, -room);
    gate.passOn();
  }
}

function first(world: ProgramWorld): void {
  visit(world, 0);
}

function second(world: ProgramWorld): void {
  visit(world, 1);
}

function third(world: ProgramWorld): void {
  visit(world, 2);
}

/** All visitors come and go; in the end the gate is free. */
export function visitors(world: ProgramWorld): void {
  const threads: Thread[] = [];
  for (const body of [first, second, third].slice(0, ORDER.visitors)) threads.push(world.spawnThread(body));
  for (const thread of threads) thread.joinThread();
  const { memory } = world;
  world.check(memory.loadWord(VISITS) === ORDER.visitors * ORDER.visits, "a visit is lost");
  const owner = new Visitor(0, memory);
  const gate = gateFor(ORDER.kind, { memory, layout: LAYOUT, owner, lock: LOCK });
  world.check(!gate.isTaken(), "the gate is not free in the end");
}
