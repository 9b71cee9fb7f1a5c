/**
 * Domctl for logging dirty pages (spec 11): on, off, and harvests. A harvest takes the marks away, takes write access
 * from all memory, and hands the marks over, in this order: a page that is written between the first two is in the marks
 * that were taken, and is copied after the second. Xen pauses the domain for it; KVM does not.
 *
 * Operations can be interrupted: they answer `again`, keep their place and the domain paused, and the same call by the
 * same caller goes on. Any other is told that the domain is busy until then.
 */
import { Counter } from "../memory/counters.ts";
import { DomainCell, DomctlAnswer } from "../memory/domain-area.ts";
import { mfn } from "../memory/units.ts";
import { VcpuCell, VcpuState } from "../memory/vcpu-area.ts";
import { LockSite } from "../locks/lock-class.ts";
import type { RecursiveLock } from "../locks/lock.ts";
import type { Vcpu } from "../machine/vcpu.ts";
import type { Domain } from "./domain.ts";
import type { DomainPause } from "./domain-pause.ts";
import type { LogDirty } from "./log-dirty.ts";
import type { PagingInterface } from "./paging-interface.ts";

/** What is unfinished, with Xen's codes where it has one (spec 11.2). */
const Operation = { none: 0, off: 1, on: 2, clean: 11, peek: 12, cleanRunning: 13 } as const;

const { done: DONE, again: AGAIN } = DomctlAnswer;
/** Words of the bitmap that are copied between two points where an operation can be interrupted. */
const WORDS_AT_ONCE = 32;

/** What the operations need. */
export interface LogDirtyParts {
  /** The caller. */
  readonly vcpu: Vcpu;
  readonly domain: Domain;
  readonly lock: RecursiveLock;
  readonly paging: PagingInterface;
  readonly pause: DomainPause;
  readonly ramPages: number;
}

/** One caller's way to the log of a domain. Every method answers a `DomctlAnswer`. */
export class LogDirtyControl {
  /** Of the last harvest or look that was done: pages that are dirty, and faults fixed while they became so. */
  dirtyPages = 0;
  faults = 0;
  readonly parts: LogDirtyParts;
  readonly #log: LogDirty;

  constructor(parts: LogDirtyParts) {
    this.parts = parts;
    this.#log = parts.paging.logDirty;
  }

  /** Begins to log writes. Nothing is dirty yet. */
  enable(): number {
    const answer = this.#enter(Operation.on, false);
    if (answer < 0) return answer;
    const { lock, domain, pause, paging } = this.parts;
    pause.pause();
    lock.acquire(LockSite.domctl);
    const hasRoom = this.#log.hasRoom();
    if (hasRoom && !domain.isDead()) {
      // Every writable mapping has to be made anew under the new rule.
      paging.dropMappings();
      domain.write(DomainCell.logDirty, 1);
    }
    lock.release();
    pause.unpause();
    return this.#leave(hasRoom ? DONE : DomctlAnswer.noMemory);
  }

  /** Ends logging and forgets what is dirty. */
  disable(): number {
    const answer = this.#enter(Operation.off, true);
    if (answer < 0) return answer;
    const { lock, pause } = this.parts;
    pause.pause();
    lock.acquire(LockSite.domctl);
    this.#log.discard();
    lock.release();
    pause.unpause();
    return this.#leave(DONE);
  }

  /** Copies the marks and leaves them as they are; the domain is paused for it. */
  peek(bitmap: Int32Array): number {
    if (!this.#fits(bitmap)) return DomctlAnswer.badBitmap;
    const answer = this.#enter(Operation.peek, true);
    if (answer < 0) return answer;
    const { lock, domain, pause } = this.parts;
    pause.pause();
    lock.acquire(LockSite.domctl);
    this.#log.trees.copyWords(mfn(domain.read(DomainCell.dirtyTree)), bitmap, 0, bitmap.length);
    this.dirtyPages = domain.read(DomainCell.dirtyCount);
    this.faults = domain.read(DomainCell.dirtyFaults);
    const hasFailed = domain.read(DomainCell.failedMarks) !== 0;
    lock.release();
    pause.unpause();
    return this.#leave(hasFailed ? DomctlAnswer.noMemory : DONE);
  }

  /** Harvests the marks of a domain that is paused meanwhile, as Xen does. */
  clean(bitmap: Int32Array): number {
    return this.#harvest(Operation.clean, bitmap);
  }

  /** Harvests the marks while the domain runs on, as KVM does. */
  cleanRunning(bitmap: Int32Array): number {
    return this.#harvest(Operation.cleanRunning, bitmap);
  }

  #harvest(operation: number, bitmap: Int32Array): number {
    if (!this.#fits(bitmap)) return DomctlAnswer.badBitmap;
    const answer = this.#enter(operation, true);
    if (answer < 0) return answer;
    if (answer === DONE) {
      this.parts.vcpu.counters.add(Counter.harvests);
      if (operation === Operation.clean) this.parts.pause.pause();
      this.collect(operation === Operation.cleanRunning);
    }
    return this.#copyPart(operation, bitmap);
  }

  /** Takes the marks away, then the rights: from here on each page is marked, in those taken or anew, or read-only. */
  collect(isRunning: boolean): void {
    this.takeMarks();
    this.takeRights(isRunning);
  }

  /** What was dirty until now is what the harvest hands over. */
  takeMarks(): void {
    const { lock } = this.parts;
    lock.acquire(LockSite.domctl);
    this.#log.takeMarks();
    lock.release();
  }

  /** No page can be written without a fault. Returns when no vCPU has a store under way that was translated before. */
  takeRights(isRunning: boolean): void {
    const { lock, paging } = this.parts;
    for (let position = 0; position >= 0;) {
      lock.acquire(LockSite.domctl);
      if (isRunning) position = paging.protectPart(position);
      else {
        paging.dropMappings();
        position = -1;
      }
      lock.release();
    }
  }

  /** Hands over some more of the harvest. */
  #copyPart(operation: number, bitmap: Int32Array): number {
    const { lock, domain, pause } = this.parts;
    lock.acquire(LockSite.domctl);
    const from = domain.read(DomainCell.domctlPosition);
    const to = Math.min(from + WORDS_AT_ONCE, bitmap.length);
    this.#log.trees.copyWords(mfn(domain.read(DomainCell.harvestTree)), bitmap, from, to);
    domain.write(DomainCell.domctlPosition, to);
    if (to < bitmap.length) {
      lock.release();
      return AGAIN;
    }
    this.dirtyPages = domain.read(DomainCell.harvestCount);
    this.faults = domain.read(DomainCell.harvestFaults);
    const hasFailed = domain.read(DomainCell.harvestFailed) !== 0;
    const isDead = domain.isDead();
    this.#log.dropHarvest();
    lock.release();
    if (operation === Operation.clean) pause.unpause();
    if (isDead) return this.#leave(DomctlAnswer.dying);
    return this.#leave(hasFailed ? DomctlAnswer.noMemory : DONE);
  }

  #fits(bitmap: Int32Array): boolean {
    return bitmap.length === Math.ceil(this.parts.ramPages / 32);
  }

  /** Begins an operation, `done`, or goes on with the caller's own, `again`; or why that cannot be. */
  #enter(operation: number, wantsLogging: boolean): number {
    const { vcpu, domain, lock } = this.parts;
    const isItself = vcpu.id < vcpu.layout.sizes.vcpus;
    if (isItself && vcpu.memory.loadWord(vcpu.area + VcpuCell.state) === VcpuState.running)
      return DomctlAnswer.onItself;
    lock.acquire(LockSite.domctl);
    const caller = domain.read(DomainCell.domctlCaller);
    let answer: number = DONE;
    if (domain.isDead()) answer = DomctlAnswer.dying;
    else if (caller === vcpu.id + 1 && domain.read(DomainCell.domctlOperation) === operation) answer = AGAIN;
    else if (caller !== 0) answer = DomctlAnswer.busy;
    else if (this.#log.isOn() !== wantsLogging) answer = DomctlAnswer.wrongMode;
    else {
      domain.write(DomainCell.domctlCaller, vcpu.id + 1);
      domain.write(DomainCell.domctlOperation, operation);
      domain.write(DomainCell.domctlPosition, 0);
    }
    lock.release();
    return answer;
  }

  #leave(answer: number): number {
    const { domain, lock } = this.parts;
    lock.acquire(LockSite.domctl);
    domain.write(DomainCell.domctlCaller, 0);
    domain.write(DomainCell.domctlOperation, Operation.none);
    domain.write(DomainCell.domctlPosition, 0);
    lock.release();
    return answer;
  }
}
