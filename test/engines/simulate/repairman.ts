/** Customers of one lock, as the machine-repairman model has them: each thinks, queues for the lock, is served, thinks. */
import { HeldLocks } from "../../../src/locks/held-locks.ts";
import { RecursiveLock } from "../../../src/locks/lock.ts";
import type { LockKind } from "../../../src/locks/gate.ts";
import { LockWaits } from "../../../src/locks/lock-waits.ts";
import type { LockOwner } from "../../../src/locks/lock-owner.ts";
import { LockSite } from "../../../src/locks/lock-class.ts";
import type { Clock } from "../../../src/memory/clock.ts";
import type { Layout } from "../../../src/memory/layout.ts";
import { SharedMemory } from "../../../src/memory/shared-memory.ts";
import type { SharedMemoryHandle } from "../../../src/memory/shared-memory.ts";
import { vcpuId } from "../../../src/memory/units.ts";
import { vcpuArea } from "../../../src/memory/vcpu-area.ts";
import { Waiter } from "../../../src/memory/wait.ts";

/** What a customer's life is made of. */
export interface Life {
  readonly handle: SharedMemoryHandle;
  readonly layout: Layout;
  readonly kind: LockKind;
  readonly clock: Clock;
  /** Spends the time until the next visit, and that of a service. */
  think(): void;
  serve(): void;
  /** A visit is over. */
  leave(): void;
}

class Customer implements LockOwner {
  readonly id: number;
  readonly waiter: Waiter;
  readonly clock: Clock;
  readonly lockWaits = new LockWaits();

  constructor(id: number, waiter: Waiter, clock: Clock) {
    this.id = id;
    this.waiter = waiter;
    this.clock = clock;
  }

  waitServing(cell: number, value: number): void {
    this.waiter.waitWhile(cell, value);
  }

  reportViolation(check: string, message: string): void {
    throw new Error(`${check}: ${message}`);
  }

  noteWaiting(): void {}
}

/** The endless life of one customer. */
export function customer(id: number, life: Life): void {
  const memory = SharedMemory.attach(life.handle);
  const owner = new Customer(id, new Waiter(memory, vcpuArea(life.layout, vcpuId(id))), life.clock);
  const lock = new RecursiveLock(memory, life.layout, "paging", life.kind, owner, new HeldLocks(owner));
  for (;;) {
    life.think();
    lock.acquire(LockSite.test);
    life.serve();
    lock.release();
    life.leave();
  }
}
