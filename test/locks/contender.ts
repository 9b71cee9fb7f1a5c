/** One thread of the lock tests that need real threads. Which one, and what it does, is in its `workerData`. */
import { parentPort, workerData } from "node:worker_threads";
import { LockCell, lockArea } from "../../src/locks/lock-area.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import type { RecursiveLock } from "../../src/locks/lock.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { Doorbell, VcpuCell, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { ring } from "../../src/memory/wait.ts";
import { ControlCell } from "./contention.ts";
import type { Contention, Outcome } from "./contention.ts";
import { TestVcpu } from "./test-vcpu.ts";

/** How long a torn update stays torn: long enough that on a single core, too, others run meanwhile. */
const TORN_MILLIS = 1;
/** How often the holder looks for an acknowledgment that never comes. */
const PATIENCE = 100;
/** How often somebody who waits while updates are torn looks before it is lost: each sleeps for a millisecond between. */
const LOOKS_MAX = 500;
const STOP = new Error("stopped");

class Contender {
  readonly #task: Contention;
  readonly #memory: SharedMemory;
  readonly #vcpu: TestVcpu;
  readonly #lock: RecursiveLock;
  readonly #control: number;
  readonly #area: number;
  #overlaps = 0;
  #looks = 0;
  #isAcknowledged = false;

  constructor(task: Contention) {
    this.#task = task;
    this.#memory = SharedMemory.attach(task.handle);
    this.#vcpu = new TestVcpu(this.#memory, task.layout, task.vcpu);
    this.#lock = this.#vcpu.lock("paging", task.kind);
    this.#control = task.layout.regions.control.offset;
    this.#area = lockArea(task.layout, LOCK_NAMES.indexOf("paging"));
    if (task.fault === "torn") tear(this.#memory, this.#area, () => this.#sleep());
  }

  run(): Outcome {
    try {
      this[this.#task.job]();
    } catch (error) {
      if (error !== STOP) throw error;
    }
    return {
      overlaps: this.#overlaps,
      checks: this.#vcpu.checks,
      isAcknowledged: this.#isAcknowledged,
    };
  }

  /** Adds to a plain counter under the lock. Ends all vCPUs as soon as anything is seen to be wrong. */
  count(): void {
    const memory = this.#memory;
    const inside = this.#control + ControlCell.inside;
    const counter = this.#control + ControlCell.counter;
    this.#vcpu.onServe = () => {
      this.#looks++;
      this.#lookForFaults();
    };
    this.#passGate();
    for (let round = 0; round < this.#task.rounds; round++) {
      this.#lock.acquire(LockSite.test);
      const isAlone = memory.view[inside] === 0;
      memory.view[inside] = 1;
      memory.storeGuarded(counter, memory.loadGuarded(counter) + 1);
      if (this.#task.fault === "torn") this.#sleep();
      if (!isAlone) this.#overlaps++;
      memory.view[inside] = 0;
      this.#lock.release();
      this.#looks = 0;
      this.#lookForFaults();
    }
    this.#vcpu.held.checkNoneHeld("the run");
    this.#lookForFaults();
  }

  /** Takes the lock as the next after the vCPU before it, and writes down its turn. The first waits for all. */
  queue(): void {
    const memory = this.#memory;
    // Both count up as vCPUs come in the order of their numbers.
    const come = this.#area + (this.#task.kind === "mcs" ? LockCell.queueTail : LockCell.nextTicket);
    while (memory.loadWord(come) !== this.#task.vcpu) Atomics.pause();
    this.#lock.acquire(LockSite.test);
    if (this.#task.vcpu === 0) {
      while (memory.loadWord(come) !== this.#task.vcpus) Atomics.pause();
    }
    const counter = this.#control + ControlCell.counter;
    const turn = memory.loadGuarded(counter);
    memory.storeGuarded(counter, turn + 1);
    memory.storeGuarded(this.#control + ControlCell.arrivals + turn, this.#task.vcpu);
    this.#lock.release();
  }

  /** vCPU 0 holds the lock until vCPU 1, which waits for it, has acknowledged a flush. */
  flush(): void {
    if (this.#task.vcpu === 0) {
      this.#lock.acquire(LockSite.test);
      this.#passGate();
      this.#isAcknowledged = this.#flushTheWaiter();
    } else {
      if (this.#task.fault !== "deaf") this.#vcpu.onServe = () => this.#vcpu.acknowledgeFlush();
      this.#passGate();
      this.#lock.acquire(LockSite.test);
    }
    this.#lock.release();
  }

  #flushTheWaiter(): boolean {
    const memory = this.#memory;
    const waiter = vcpuArea(this.#task.layout, vcpuId(1));
    while (memory.loadWord(waiter + VcpuCell.waitsForLock) === 0) Atomics.pause();
    memory.storeWord(waiter + VcpuCell.flushRequested, 1);
    ring(memory, waiter, Doorbell.flush);
    const acknowledged = waiter + VcpuCell.flushAcknowledged;
    for (let look = 0; memory.loadWord(acknowledged) !== 1; look++) {
      if (this.#task.fault === "deaf" && look === PATIENCE) return false;
      this.#vcpu.waiter.waitWhile(acknowledged, 0);
    }
    return true;
  }

  /** Without it the first thread would be done before the second has started. */
  #passGate(): void {
    const gate = this.#control + ControlCell.gate;
    Atomics.add(this.#memory.view, gate, 1);
    while (this.#memory.loadWord(gate) !== this.#task.vcpus) Atomics.pause();
  }

  #sleep(): void {
    Atomics.wait(this.#memory.view, this.#control + ControlCell.idle, 0, TORN_MILLIS);
  }

  #lookForFaults(): void {
    if (this.#overlaps !== 0 || this.#vcpu.checks.length !== 0 || this.#hasLostItsTurn()) {
      this.#memory.storeWord(this.#control + ControlCell.stop, 1);
    }
    if (this.#memory.loadWord(this.#control + ControlCell.stop) !== 0) throw STOP;
  }

  /** A torn update can lose a ticket or a place in a queue, and whoever has it, or is to call it, waits for ever. */
  #hasLostItsTurn(): boolean {
    if (this.#task.fault !== "torn" || this.#looks < LOOKS_MAX) return false;
    this.#vcpu.reportViolation("lost-turn", "a vCPU waits for a turn that does not come");
    return true;
  }
}

/** Plants the fault that atomic updates exist to prevent: what was read has changed by the time of the write. */
function tear(memory: SharedMemory, area: number, sleep: () => void): void {
  const addWord = memory.addWord.bind(memory);
  memory.compareExchangeWord = (cell, expected, value) => {
    const seen = memory.loadWord(cell);
    sleep();
    if (seen === expected) memory.storeWord(cell, value);
    return seen;
  };
  memory.exchangeWord = (cell, value) => {
    const seen = memory.loadWord(cell);
    sleep();
    memory.storeWord(cell, value);
    return seen;
  };
  memory.addWord = (cell, delta) => {
    if (cell !== area + LockCell.nextTicket) return addWord(cell, delta);
    const seen = memory.loadWord(cell);
    sleep();
    memory.storeWord(cell, seen + delta);
    return seen;
  };
}

parentPort?.postMessage(new Contender(workerData as Contention).run());
