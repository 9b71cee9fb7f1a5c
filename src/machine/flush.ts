/**
 * TLB flushes between vCPUs. A flush is three steps that a scheduler can separate: the request (a number in the target's
 * mailbox and its doorbell), the service by the target, and the acknowledgment that the requester waits for.
 *
 * A vCPU serves requests before each guest operation and while it waits for anything, never between a translation and
 * its use. One that is halted, parked or ended counts as having acknowledged: its TLB is emptied before it runs again.
 */
import { Counter } from "../memory/counters.ts";
import { DomainCell } from "../memory/domain-area.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { cell as asCell, vcpuId } from "../memory/units.ts";
import type { VcpuId } from "../memory/units.ts";
import { Doing, Doorbell, VcpuCell, VcpuState, vcpuArea } from "../memory/vcpu-area.ts";
import { ring, wake } from "../memory/wait.ts";
import type { Waiter } from "../memory/wait.ts";
import type { StructureCache } from "./structure-cache.ts";
import type { Tlb } from "./tlb.ts";
import type { CounterSet } from "./counter-set.ts";

/**
 * Whether what the TLB of a parked vCPU holds is what its vCPU would use: no flush was asked for since it parked. One
 * that was makes no difference to the vCPU, whose TLB is emptied before it runs again. For audits.
 */
export function isInForce(memory: SharedMemory, area: number): boolean {
  return (
    memory.loadWord(area + VcpuCell.flushRequested) === memory.loadWord(area + VcpuCell.flushAcknowledged)
  );
}

/** These bits of the TLB clock are zero four times in its round of 2^32. */
const STAMP_AGE_MASK = 0x3fff_ffff;

/** One vCPU's part in flushing: it asks others and serves them. */
export class FlushMailbox {
  readonly #memory: SharedMemory;
  readonly #areas: Int32Array;
  readonly #pending: Int32Array;
  readonly #self: VcpuId;
  readonly #area: number;
  readonly #clock: number;
  readonly #tlb: Tlb;
  readonly #structureCache: StructureCache;
  readonly #waiter: Waiter;
  readonly #counters: CounterSet;

  constructor(
    memory: SharedMemory,
    layout: Layout,
    self: VcpuId,
    caches: { tlb: Tlb; structureCache: StructureCache },
    waiter: Waiter,
    counters: CounterSet,
  ) {
    this.#memory = memory;
    this.#areas = Int32Array.from({ length: layout.sizes.vcpus + 1 }, (_, id) =>
      vcpuArea(layout, vcpuId(id)),
    );
    this.#pending = new Int32Array(layout.sizes.vcpus + 1);
    this.#self = self;
    this.#area = vcpuArea(layout, self);
    this.#clock = layout.regions.domain.offset + DomainCell.tlbClock;
    this.#tlb = caches.tlb;
    this.#structureCache = caches.structureCache;
    this.#waiter = waiter;
    this.#counters = counters;
  }

  /** Empties this vCPU's own TLB. The clock ticks before, the stamp follows (spec 14.8). */
  flushLocal(): void {
    const time = this.#memory.addWord(this.#clock, 1) + 1;
    this.#tlb.flush();
    this.#structureCache.flush();
    this.#memory.storeWord(this.#area + VcpuCell.tlbStamp, time);
    this.#counters.add(Counter.local_flushes);
    if ((time & STAMP_AGE_MASK) === 0) this.#remindAll();
  }

  /** Serves a request, if there is one. */
  serve(): void {
    const doorbell = this.#area + VcpuCell.doorbell;
    if ((this.#memory.loadWord(doorbell) & Doorbell.flush) === 0) return;
    // In this order: a request that comes after the AND rings again, one before it is answered by this flush.
    this.#memory.andWord(doorbell, ~Doorbell.flush);
    const request = this.#memory.loadWord(this.#area + VcpuCell.flushRequested);
    this.flushLocal();
    this.#acknowledge(request);
    this.#counters.add(Counter.flushes_served);
  }

  /** Flushes every vCPU that may hold translations, this one too, and waits until all have acknowledged. */
  flushAll(): void {
    this.flushWhere(0, false);
  }

  /**
   * As `flushAll`, but with `staleOnly` only the vCPUs whose last flush is not later than the TLB clock at `since`
   * (spec 3.8). Returns the number of vCPUs flushed.
   */
  flushWhere(since: number, staleOnly: boolean): number {
    const memory = this.#memory;
    let flushed = 0;
    for (let id = 0; id < this.#areas.length; id++) {
      const area = this.#areas[id] ?? 0;
      this.#pending[id] = 0;
      if (staleOnly && ((memory.loadWord(area + VcpuCell.tlbStamp) - since) | 0) > 0) continue;
      if (memory.loadWord(area + VcpuCell.state) !== VcpuState.running) {
        // Nobody waits for it, but what it still holds is known to be out of date from now on (`isInForce`).
        memory.addWord(area + VcpuCell.flushRequested, 1);
        continue;
      }
      flushed++;
      if (id === this.#self) this.flushLocal();
      else this.#request(id, area);
    }
    for (let id = 0; id < this.#areas.length; id++) {
      if (this.#pending[id] !== 0) this.#awaitAcknowledgment(this.#areas[id] ?? 0, this.#pending[id] ?? 0);
    }
    return flushed;
  }

  /** The TLB clock now, to stamp a freed page with. */
  time(): number {
    return this.#memory.loadWord(this.#clock);
  }

  /**
   * Sets whether this vCPU's TLB is in use. Leaving the running state acknowledges what was asked; entering it empties
   * the TLB after the state is visible, so a requester either waits for this vCPU or finds its TLB empty.
   */
  setState(state: number): void {
    const cell = this.#area + VcpuCell.state;
    this.#memory.storeWord(cell, state);
    if (state === VcpuState.running) this.flushLocal();
    else {
      const request = this.#memory.loadWord(this.#area + VcpuCell.flushRequested);
      if (request !== this.#memory.loadWord(this.#area + VcpuCell.flushAcknowledged)) this.flushLocal();
      this.#acknowledge(request);
    }
    wake(this.#memory, cell);
  }

  /**
   * Asks everybody to flush, and does not wait. Done four times in a round of the clock, so that no stamp gets so old
   * that its difference to a newer time seems negative. Xen flushes all CPUs when the clock wraps (spec 14.8).
   */
  #remindAll(): void {
    for (let id = 0; id < this.#areas.length; id++) {
      const area = this.#areas[id] ?? 0;
      if (id === this.#self || this.#memory.loadWord(area + VcpuCell.state) !== VcpuState.running) continue;
      this.#memory.addWord(area + VcpuCell.flushRequested, 1);
      ring(this.#memory, asCell(area), Doorbell.flush);
    }
  }

  #request(id: number, area: number): void {
    this.#pending[id] = this.#memory.addWord(area + VcpuCell.flushRequested, 1) + 1;
    ring(this.#memory, asCell(area), Doorbell.flush);
    this.#counters.add(Counter.flush_requests);
  }

  #acknowledge(request: number): void {
    this.#memory.storeWord(this.#area + VcpuCell.flushAcknowledged, request);
    wake(this.#memory, this.#area + VcpuCell.flushAcknowledged);
  }

  #awaitAcknowledgment(area: number, request: number): void {
    const memory = this.#memory;
    const doing = memory.loadPrivate(this.#area + VcpuCell.doing);
    memory.storePrivate(this.#area + VcpuCell.doing, Doing.flushWait);
    for (;;) {
      const acknowledged = memory.loadWord(area + VcpuCell.flushAcknowledged);
      if (((acknowledged - request) | 0) >= 0) break;
      if (memory.loadWord(area + VcpuCell.state) !== VcpuState.running) break;
      this.serve();
      this.#waiter.waitWhile(area + VcpuCell.flushAcknowledged, acknowledged);
    }
    memory.storePrivate(this.#area + VcpuCell.doing, doing);
  }
}
