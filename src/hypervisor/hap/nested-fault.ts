/**
 * Nested faults: hardware met a guest frame that the p2m tables do not map, or not for writing. That is a device, a change of
 * the p2m that was under way, or the first write to a page since it was last harvested. The guest's own page faults never
 * come here.
 */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { NO_MFN, PAGE_BYTES } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { FaultAnswer, Operation } from "../../machine/exits.ts";
import { ARCHITECTURAL_FAULT_BITS } from "../../machine/fault-code.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { discardWrite } from "../discard-write.ts";
import { discardsWrites, isAbsentEntry, isReadOnlyEntry, mappedInP2mEntry } from "../p2m-type.ts";
import { SplitAccess } from "../split-access.ts";
import type { StoreWatch } from "../split-access.ts";
import type { Hap } from "./hap.ts";

const PRESENT = 1;
const WRITE = 2;
const USER = 4;
const FETCH = 16;
/** Privilege, as in an access word: user, and implicit supervisor. */
const PRIVILEGE = 4 | (1 << 18);
const PAGE_MASK = PAGE_BYTES - 1;
const NO_DEVICE = -1;

/** Stores to guest memory concern nobody in hap mode but the log of dirty pages: nothing is derived from it. */
class LoggedStores implements StoreWatch {
  readonly #hap: Hap;

  constructor(hap: Hap) {
    this.#hap = hap;
  }

  beforeStore(): void {
    // It is logged when it is done, in the same hold of the lock.
  }

  afterStore(frame: Mfn): void {
    this.#hap.logDirty.markFrame(frame);
  }
}

/** Handles nested faults of one vCPU. */
export class NestedFaultHandler {
  readonly #hap: Hap;
  readonly #split: SplitAccess;
  /** Gfn of the device page that the operation goes to, -1 when it is none, or two pages. */
  #deviceGfn = NO_DEVICE;

  constructor(hap: Hap) {
    this.#hap = hap;
    this.#split = new SplitAccess(hap, new LoggedStores(hap));
  }

  /** Answers a fault at a guest frame, met as `vcpu.nested` says. Answers a `FaultAnswer`. */
  handle(gfn: number): number {
    const { counters, domain, lock, vcpu, device } = this.#hap;
    counters.add(Counter.nested_faults);
    if (domain.isDead()) return FaultAnswer.stop;
    this.#deviceGfn = NO_DEVICE;
    lock.acquire(LockSite.nested_fault);
    const answer = this.#answer(gfn);
    lock.release();
    if (this.#deviceGfn >= 0) device.execute(vcpu, this.#deviceGfn);
    else if (answer === FaultAnswer.emulated) this.#split.askDevices();
    return answer;
  }

  /** No memory can be had for what the operation needs: the guest gets a page fault that no hardware would make (spec 13). */
  injectNoMemory(): number {
    const { vcpu, counters, guest } = this.#hap;
    counters.add(Counter.fault_bail_bad_gfn);
    const access = accessOf(vcpu.operation) | (vcpu.accessBits & USER);
    vcpu.faultErrorCode = PRESENT | (guest.reportsFetches() ? access : access & ~FETCH);
    return FaultAnswer.inject;
  }

  /** Under the lock, so that no change of the p2m is under way. */
  #answer(gfn: number): number {
    const { domain, p2m, vcpu } = this.#hap;
    if (domain.isDead()) return FaultAnswer.stop;
    const entry = p2m.entryOf(gfn);
    if (mappedInP2mEntry(entry) !== NO_MFN) {
      // Else hardware came while the entry was being changed; by now the tables have it.
      return vcpu.nested.isWriteRefused ? this.#refusedWrite(gfn, entry) : FaultAnswer.retry;
    }
    if (isAbsentEntry(entry)) return this.#await(gfn);
    // A table that is no memory reads as zero (spec 4.1): the hypervisor's walk says what that makes of the access.
    if (vcpu.nested.isTableMissing)
      return this.#isPermitted(vcpu.faultLow, vcpu.faultHigh) ? FaultAnswer.retry : this.#refusal();
    if (this.#crossesPages()) return this.#splitAccess();
    this.#deviceGfn = gfn;
    return FaultAnswer.emulated;
  }

  /** The p2m's tables have the page, but not for writing. */
  #refusedWrite(gfn: number, entry: number): number {
    const { vcpu, counters } = this.#hap;
    if (!isReadOnlyEntry(entry)) this.#firstWrite(gfn);
    else if (!discardsWrites(entry)) {
      this.#hap.wanted.isWritten = true;
      return this.#await(gfn);
    } else if (vcpu.nested.isTableMissing) {
      // A or D of an entry in read-only memory: the hypervisor's walk sets them all the same, and hardware need not.
      return this.#isPermitted(vcpu.faultLow, vcpu.faultHigh) ? FaultAnswer.retry : this.#refusal();
    } else {
      counters.add(Counter.fault_read_only);
      if (this.#crossesPages()) return this.#splitAccess();
      counters.add(Counter.discarded_writes);
      discardWrite(vcpu, mappedInP2mEntry(entry));
      return FaultAnswer.emulated;
    }
    return FaultAnswer.retry;
  }

  /** A page has to be brought back, or its type changed, before the access can be made; then it is made again. */
  #await(gfn: number): number {
    this.#hap.wanted.gfn = gfn;
    return FaultAnswer.retry;
  }

  /** The guest's tables refuse the access, if they are all there. */
  #refusal(): number {
    const table = this.#hap.guest.absentTable();
    return table >= 0 ? this.#await(table) : FaultAnswer.inject;
  }

  #crossesPages(): boolean {
    const { vcpu } = this.#hap;
    return (vcpu.addressLow & PAGE_MASK) + vcpu.size > PAGE_BYTES;
  }

  /** A page is written for the first time since it was protected, by a store or by the A or D of an entry in it. */
  #firstWrite(gfn: number): void {
    const { domain, logDirty, tables } = this.#hap;
    logDirty.markPage(gfn);
    tables.allowWrites(gfn);
    if (logDirty.isOn()) domain.increase(DomainCell.dirtyFaults, 1);
  }

  /**
   * An access to two pages, one of which is a device's or read-only, or was: both are translated again before a byte moves.
   */
  #splitAccess(): number {
    const { vcpu, guest, p2m, counters } = this.#hap;
    const { addressLow, addressHigh } = vcpu;
    if (!this.#isPermitted(addressLow, addressHigh)) return this.#refusal();
    const firstGfn = guest.walker.frame;
    const firstEntry = p2m.entryOf(firstGfn);
    if (isAbsentEntry(firstEntry)) return this.#await(firstGfn);
    const nextLow = ((addressLow & ~PAGE_MASK) + PAGE_BYTES) | 0;
    if (!this.#isPermitted(nextLow, vcpu.highOfNextPage(nextLow, addressHigh))) return this.#refusal();
    const secondGfn = guest.walker.frame;
    const secondEntry = p2m.entryOf(secondGfn);
    if (isAbsentEntry(secondEntry)) return this.#await(secondGfn);
    const first = mappedInP2mEntry(firstEntry);
    const second = mappedInP2mEntry(secondEntry);
    const discards = (discardsWrites(firstEntry) ? 1 : 0) | (discardsWrites(secondEntry) ? 2 : 0);
    if (first !== NO_MFN && second !== NO_MFN && discards === 0) return FaultAnswer.retry;
    if (discards !== 0) counters.add(Counter.discarded_writes);
    this.#split.execute(first, firstGfn, second, secondGfn, discards);
    return FaultAnswer.emulated;
  }

  /** Walks the guest's tables for the operation in flight, at one of its pages; a refusal is made ready to be injected. */
  #isPermitted(low: number, high: number): boolean {
    const { vcpu, guest, counters, logDirty } = this.#hap;
    counters.add(Counter.guest_walk);
    const access = accessOf(vcpu.operation) | (vcpu.accessBits & PRIVILEGE);
    if (guest.walk(low, high, access, vcpu.alignmentCheck)) {
      logDirty.markWalk(guest.walker);
      return true;
    }
    vcpu.faultLow = low;
    vcpu.faultHigh = high;
    vcpu.faultErrorCode = guest.walker.errorCode & ARCHITECTURAL_FAULT_BITS;
    return false;
  }
}

/** What an operation needs of a page, as in an access word. */
function accessOf(operation: number): number {
  if (operation === Operation.load) return 0;
  return operation === Operation.fetch ? FETCH : WRITE;
}
