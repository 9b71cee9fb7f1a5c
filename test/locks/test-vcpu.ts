/** A vCPU with nothing but locks, for the tests of locks: on one thread, or one of several. */
import { HeldLocks } from "../../src/locks/held-locks.ts";
import { RecursiveLock } from "../../src/locks/lock.ts";
import type { LockKind } from "../../src/locks/gate.ts";
import { LockWaits } from "../../src/locks/lock-waits.ts";
import type { LockOwner } from "../../src/locks/lock-owner.ts";
import type { LockName } from "../../src/locks/lock-class.ts";
import { layOut } from "../../src/memory/layout.ts";
import type { Layout } from "../../src/memory/layout.ts";
import type { SharedMemory } from "../../src/memory/shared-memory.ts";
import { vcpuId } from "../../src/memory/units.ts";
import type { Cell } from "../../src/memory/units.ts";
import { Doorbell, VcpuCell, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { Waiter, wake } from "../../src/memory/wait.ts";

/** A machine that is little more than its locks. */
export function smallLayout(vcpus: number): Layout {
  return layOut({ vcpus, frames: 1, ramPages: 1, tlbSets: 1, tlbWays: 1, structureCacheEntries: 0 });
}

/** A clock that moves on by the same step each time it is read. */
export class StepClock {
  #now = 0;
  readonly #step: number;

  constructor(step: number) {
    this.#step = step;
  }

  now(): number {
    this.#now += this.#step;
    return this.#now;
  }
}

/** A waiter that, instead of waiting, lets the test do what the other vCPUs would do meanwhile. */
class ScriptedWaiter extends Waiter {
  readonly #vcpu: TestVcpu;

  constructor(memory: SharedMemory, vcpu: TestVcpu) {
    super(memory, vcpu.area);
    this.#vcpu = vcpu;
  }

  override waitWhile(cell: number, value: number): void {
    const { meanwhile } = this.#vcpu;
    if (meanwhile === undefined) super.waitWhile(cell, value);
    else meanwhile();
  }
}

export class TestVcpu implements LockOwner {
  readonly id: number;
  readonly area: Cell;
  readonly waiter: Waiter;
  readonly clock = new StepClock(1000);
  readonly held: HeldLocks;
  readonly lockWaits = new LockWaits();
  /** Names of the checks that failed, and what they said. */
  readonly checks: string[] = [];
  readonly messages: string[] = [];
  /** What to do in place of waiting. */
  meanwhile: (() => void) | undefined;
  /** Called each time the lock wants the mailbox served. */
  onServe: (() => void) | undefined;
  readonly #memory: SharedMemory;
  readonly #layout: Layout;

  constructor(memory: SharedMemory, layout: Layout, id: number) {
    this.#memory = memory;
    this.#layout = layout;
    this.id = id;
    this.area = vcpuArea(layout, vcpuId(id));
    this.waiter = new ScriptedWaiter(memory, this);
    this.held = new HeldLocks(this);
  }

  lock(name: LockName, kind: LockKind): RecursiveLock {
    return new RecursiveLock(this.#memory, this.#layout, name, kind, this, this.held);
  }

  waitServing(cell: number, value: number): void {
    this.waiter.waitWhile(cell, value);
    this.onServe?.();
  }

  /** Serves a flush as a vCPU would, less the TLB. */
  acknowledgeFlush(): void {
    const memory = this.#memory;
    if ((memory.loadWord(this.area + VcpuCell.doorbell) & Doorbell.flush) === 0) return;
    memory.andWord(this.area + VcpuCell.doorbell, ~Doorbell.flush);
    const requested = memory.loadWord(this.area + VcpuCell.flushRequested);
    memory.storeWord(this.area + VcpuCell.flushAcknowledged, requested);
    wake(memory, this.area + VcpuCell.flushAcknowledged);
  }

  reportViolation(check: string, message: string): void {
    this.checks.push(check);
    this.messages.push(message);
  }

  noteWaiting(lock: number): void {
    this.#memory.storeWord(this.area + VcpuCell.waitsForLock, lock);
  }

  /** What the vCPU says that it waits for. */
  get waitsFor(): number {
    return this.#memory.loadWord(this.area + VcpuCell.waitsForLock);
  }
}
