/**
 * Executing a guest's store to one of its pagetables: the original and every shadow of it change in one hold of the
 * lock (spec 4.9, 5). The operation is the one that faulted; it is translated afresh, and correctness comes from
 * validating what was written, not from the fault.
 */
import { Counter } from "../../memory/counters.ts";
import { NO_MFN, PAGE_BYTES, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { FaultAnswer, Operation } from "../../machine/exits.ts";
import { P2mType, discardsWrites, isAbsentEntry, mappedInP2mEntry } from "../p2m-type.ts";
import { discardWrite } from "../discard-write.ts";
import type { Shadow } from "./shadow.ts";

const WRITE = 2;
const FETCH = 16;
/** Privilege, as in an access word: user, and implicit supervisor. */
const PRIVILEGE = 4 | (1 << 18);
const PAGE_MASK = PAGE_BYTES - 1;

/**
 * Emulates stores and compare-exchanges, and whatever a device has a part of. Callers hold the paging lock; with the
 * switch `unlocked-emulation`, or per-page locks, they do not, and it is taken between the translation and the store.
 */
export class Emulation {
  /** Whether the last store was one to a pagetable, for emulate-ahead. */
  wasPagetable = false;
  /** Whether what is emulated only comes after a store that was: if it cannot be, nothing is unshadowed for that. */
  isAhead = false;
  readonly #shadow: Shadow;
  #first: Mfn = NO_MFN;
  #second: Mfn = NO_MFN;
  #firstGfn = -1;
  #secondGfn = -1;
  /** What the p2m said of the two. */
  #firstEntry: number = P2mType.mmioDm;
  #secondEntry: number = P2mType.mmioDm;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Emulates the vCPU's operation in flight. `frame` is the page that the fault found, NO_MFN for a device's. What devices
   * have a part in is over when they have been asked (`SplitAccess`). Answers a `FaultAnswer`.
   */
  emulate(frame: Mfn): number {
    const { vcpu, perPage, emulatesUnlocked } = this.#shadow;
    const crosses = this.crossesPages();
    const refusal = this.#translate(vcpu.addressLow, vcpu.addressHigh, crosses);
    if (refusal !== FaultAnswer.emulated) return refusal;
    if (!emulatesUnlocked) return this.#perform(frame, crosses);
    perPage.beginStore(LockSite.emulate_write, this.#first, crosses);
    const answer = this.isStillThere(crosses) ? this.#perform(frame, crosses) : FaultAnswer.retry;
    perPage.endStore();
    return answer;
  }

  /**
   * Emulates the operation in flight as one that comes soon after an emulated store: nothing faulted, so nothing is injected.
   * False, and nothing was done, when it is not for the emulator.
   */
  emulateNext(): boolean {
    const { vcpu, perPage, emulatesUnlocked } = this.#shadow;
    const crosses = this.crossesPages();
    if (this.#translate(vcpu.addressLow, vcpu.addressHigh, crosses) !== FaultAnswer.emulated) return false;
    if (this.#first === NO_MFN || (crosses && this.#second === NO_MFN)) return false;
    if (isRead(vcpu.operation)) {
      this.#read(crosses);
      return true;
    }
    if (this.#isDiscarded(crosses)) return false;
    if (!emulatesUnlocked) {
      this.#store(crosses);
      return true;
    }
    perPage.beginStore(LockSite.emulate_write, this.#first, crosses);
    const isThere = this.isStillThere(crosses);
    if (isThere) this.#store(crosses);
    perPage.endStore();
    return isThere;
  }

  /**
   * Whether the pages still lie where the translation found them, and are what they were: the p2m may have changed before
   * the lock was taken, and the frames have got other owners. Xen holds references to them instead (XSA-219).
   */
  protected isStillThere(crosses: boolean): boolean {
    const { p2m } = this.#shadow;
    return (
      p2m.entryOf(this.#firstGfn) === this.#firstEntry &&
      (!crosses || p2m.entryOf(this.#secondGfn) === this.#secondEntry)
    );
  }

  /** Does what was translated. Callers hold the lock. */
  #perform(frame: Mfn, crosses: boolean): number {
    const { counters, unshadow, split, switches, emulatesUnlocked } = this.#shadow;
    if (crosses && (this.#first === NO_MFN || this.#second === NO_MFN)) {
      this.resetEarlyUnshadow();
      split.execute(this.#first, this.#firstGfn, this.#second, this.#secondGfn, this.#discards(crosses));
      return FaultAnswer.emulated;
    }
    // The device has gone since the fault's own walk: the guest changes its tables meanwhile.
    if (frame === NO_MFN) return FaultAnswer.retry;
    if (this.#first === NO_MFN) {
      // Unless the fault's own walk, in the same hold of the lock, has found memory, the device may have come since.
      if (emulatesUnlocked || switches["fast-emulate"] || this.isAhead) return FaultAnswer.retry;
      counters.add(Counter.fault_emulate_failed);
      unshadow.removeShadows(frame, false, true);
      return FaultAnswer.retry;
    }
    if (this.#isDiscarded(crosses)) this.#discard(crosses);
    else this.#store(crosses);
    return FaultAnswer.emulated;
  }

  /** Which of the pages keeps what it has (spec 5.1): bit 0 for the first, bit 1 for the second. */
  #discards(crosses: boolean): number {
    const first = discardsWrites(this.#firstEntry) ? 1 : 0;
    return crosses && discardsWrites(this.#secondEntry) ? first | 2 : first;
  }

  #isDiscarded(crosses: boolean): boolean {
    return this.#discards(crosses) !== 0 && !isRead(this.#shadow.vcpu.operation);
  }

  /**
   * A write to read-only memory: it reads what is there, as the operation asks for, and stores nothing, but to the other one
   * of two pages. Xen lets a compare-exchange succeed whatever is there; here it says what it found.
   */
  #discard(crosses: boolean): void {
    const { vcpu, counters, split } = this.#shadow;
    counters.add(Counter.discarded_writes);
    this.resetEarlyUnshadow();
    if (crosses) {
      split.execute(this.#first, this.#firstGfn, this.#second, this.#secondGfn, this.#discards(crosses));
      return;
    }
    discardWrite(vcpu, this.#first);
  }

  /** Stores to memory, and brings every shadow of the pages up to date. Callers hold the lock. */
  #store(crosses: boolean): void {
    const { vcpu, counters, unshadow, switches, skipVerify, pages, fastEmulate, outOfSync } = this.#shadow;
    const { addressLow, size } = vcpu;
    const offset = addressLow & PAGE_MASK;
    // An unaligned store is no way to write an entry: the page is probably no pagetable.
    if ((addressLow & (size - 1)) !== 0) unshadow.removeShadows(this.#first, false, false);
    if (crosses) unshadow.removeShadows(this.#second, false, false);
    if (switches["emulate-ahead"]) this.wasPagetable = pages.isPagetable(this.#first);
    if (switches["skip-verify"]) skipVerify.sample(this.#first, offset);
    this.#execute(offset, crosses);
    this.#finish(offset, crosses);
    vcpu.frame = this.#first;
    counters.add(Counter.emulated_stores);
    if (switches["fast-emulate"] && !crosses && pages.isPagetable(this.#first)) {
      // The handler decides whether the next store lets the page go out of sync.
      if (outOfSync.isNextFree(this.#first)) fastEmulate.forget();
      else fastEmulate.noteEmulated(this.#first);
    }
  }

  /** Reads memory. No flush is acknowledged between the translation and this, so the frames are still the guest's. */
  #read(crosses: boolean): void {
    const { vcpu } = this.#shadow;
    const { physical, size } = vcpu;
    const address = this.#first * PAGE_BYTES + (vcpu.addressLow & PAGE_MASK);
    if (crosses) physical.readBytes(address, size, (this.#first + 1) * PAGE_BYTES, this.#second * PAGE_BYTES);
    else physical.read(address, size);
    vcpu.resultLow = physical.low;
    vcpu.resultHigh = physical.high;
    vcpu.frame = this.#first;
  }

  /** Whether the vCPU's operation in flight goes to two pages. */
  crossesPages(): boolean {
    const { addressLow, size } = this.#shadow.vcpu;
    return (addressLow & PAGE_MASK) + size > PAGE_BYTES;
  }

  /** Forgets the page that early unshadow watches: the guest did something else than clearing it (spec 4.11). */
  resetEarlyUnshadow(): void {
    const { memory, vcpu } = this.#shadow;
    memory.storeGuarded(vcpu.area + VcpuCell.lastEmulatedFrame, 0);
  }

  #translate(low: number, high: number, crosses: boolean): number {
    const { p2m, vcpu } = this.#shadow;
    this.#firstGfn = this.gfnOf(low, high);
    if (this.#firstGfn < 0) return this.#inject(low, high);
    this.#firstEntry = p2m.entryOf(this.#firstGfn);
    this.#first = mappedInP2mEntry(this.#firstEntry);
    if (isAbsentEntry(this.#firstEntry)) return this.#await(this.#firstGfn);
    if (!crosses) return FaultAnswer.emulated;
    const nextLow = ((low & ~PAGE_MASK) + PAGE_BYTES) | 0;
    const nextHigh = vcpu.highOfNextPage(nextLow, high);
    this.#secondGfn = this.gfnOf(nextLow, nextHigh);
    if (this.#secondGfn < 0) return this.#inject(nextLow, nextHigh);
    this.#secondEntry = p2m.entryOf(this.#secondGfn);
    this.#second = mappedInP2mEntry(this.#secondEntry);
    return isAbsentEntry(this.#secondEntry) ? this.#await(this.#secondGfn) : FaultAnswer.emulated;
  }

  /** A page has to be brought back before anything can be done; then the operation executes again. */
  #await(gfn: number): number {
    this.#shadow.wanted.gfn = gfn;
    return FaultAnswer.retry;
  }

  /**
   * The gfn that an address leads to for the operation in flight, -1 when the guest's tables refuse it. Walks again if an
   * entry changed before it could get its A or D.
   */
  gfnOf(low: number, high: number): number {
    const { guest, counters, vcpu, translations, switches, logDirty } = this.#shadow;
    const access = accessOf(vcpu.operation) | (vcpu.accessBits & PRIVILEGE);
    if (switches["translation-cache"]) {
      const known = translations.gfnOf(low, high, access);
      counters.add(known < 0 ? Counter.translation_cache_misses : Counter.translation_cache_hits);
      if (known >= 0) return known;
    }
    for (;;) {
      counters.add(Counter.guest_walk);
      if (!guest.walk(low, high, access, vcpu.alignmentCheck)) return -1;
      logDirty.markWalk(guest.walker);
      if (guest.walker.lostLevels === 0) break;
    }
    translations.noteWalk(low, high, access);
    return guest.walker.frame;
  }

  #inject(low: number, high: number): number {
    const { vcpu, guest } = this.#shadow;
    const table = guest.absentTable();
    if (table >= 0) return this.#await(table);
    vcpu.faultLow = low;
    vcpu.faultHigh = high;
    vcpu.faultErrorCode = guest.walker.errorCode;
    return FaultAnswer.inject;
  }

  #execute(offset: number, crosses: boolean): void {
    const { vcpu } = this.#shadow;
    const { physical } = vcpu;
    const { size, expectedLow, expectedHigh, valueLow, valueHigh } = vcpu;
    const address = this.#first * PAGE_BYTES + offset;
    const split = (this.#first + 1) * PAGE_BYTES;
    const second = this.#second * PAGE_BYTES;
    if (vcpu.operation === Operation.compareExchange) {
      vcpu.exchanged = crosses
        ? physical.exchangeBytes(address, size, split, second, expectedLow, expectedHigh, valueLow, valueHigh)
        : physical.exchange(address, size, expectedLow, expectedHigh, valueLow, valueHigh);
      vcpu.resultLow = physical.low;
      vcpu.resultHigh = physical.high;
    } else if (vcpu.operation === Operation.alter) {
      if (crosses) physical.alterBytes(address, size, split, second, vcpu);
      else physical.alter(address, size, vcpu);
      vcpu.resultLow = physical.low;
      vcpu.resultHigh = physical.high;
    } else if (crosses) physical.writeBytes(address, size, split, second, valueLow, valueHigh);
    else physical.write(address, size, valueLow, valueHigh);
  }

  /** Early unshadow first, so the page may lose its shadows before they are validated; also after a failed exchange. */
  #finish(offset: number, crosses: boolean): void {
    const { vcpu, validation, counters, freeWalk, switches, skipVerify, logDirty, outOfSync } = this.#shadow;
    const inFirst = crosses ? PAGE_BYTES - offset : vcpu.size;
    logDirty.markFrame(this.#first);
    if (crosses) logDirty.markFrame(this.#second);
    this.#noteZeroWrite(offset);
    outOfSync.noteWrite(this.#first);
    if (switches["skip-verify"] && !crosses && skipVerify.isHarmless(this.#first, offset, vcpu.size))
      counters.add(Counter.write_skipped);
    else {
      counters.add(Counter.write_validated);
      validation.validate(this.#first, offset, inFirst);
      if (crosses) validation.validate(this.#second, 0, vcpu.size - inFirst);
    }
    freeWalk.noteChange();
  }

  /** A zero that is no whole entry neither counts nor resets: PAE guests clear an entry with two stores (spec 4.11). */
  #noteZeroWrite(offset: number): void {
    const { vcpu, guest } = this.#shadow;
    if (vcpu.size < 4 || !this.#beginsWithZero(offset)) this.resetEarlyUnshadow();
    else if ((offset & (guest.format() === 2 ? 3 : 7)) === 0) this.#checkEarlyUnshadow();
  }

  /** Whether the first 32 bits that the store went to are zero now. */
  #beginsWithZero(offset: number): boolean {
    const { physical } = this.#shadow.vcpu;
    const split = (this.#first + 1) * PAGE_BYTES;
    physical.readBytes(this.#first * PAGE_BYTES + offset, 4, split, this.#second * PAGE_BYTES);
    return physical.low === 0;
  }

  /** The second zero in a row into one page, or the first of a dying process: it is being cleared for another use. */
  #checkEarlyUnshadow(): void {
    const { memory, vcpu, switches, pages, counters, unshadow, dying } = this.#shadow;
    const cell = vcpu.area + VcpuCell.lastEmulatedFrame;
    const frame = mfn(this.#first);
    const isSecond = memory.loadGuarded(cell) === frame;
    if (switches["early-unshadow"] && dying.isEnough(frame, isSecond) && pages.isPagetable(frame)) {
      counters.add(Counter.early_unshadow);
      unshadow.removeShadows(frame, true, false);
    }
    memory.storeGuarded(cell, frame);
  }
}

/** Whether an operation leaves memory as it is. */
function isRead(operation: number): boolean {
  return operation === Operation.load || operation === Operation.fetch || operation === Operation.loadToStore;
}

/** What an operation needs of a page, as in an access word. */
function accessOf(operation: number): number {
  if (operation === Operation.load) return 0;
  return operation === Operation.fetch ? FETCH : WRITE;
}
