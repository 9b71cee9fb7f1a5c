/**
 * Memory operations of a vCPU: TLB, then a walk, then the access itself or a page fault to the hypervisor (design 4).
 */
import { Counter } from "../memory/counters.ts";
import { PAGE_BYTES, cell } from "../memory/units.ts";
import type { Cell } from "../memory/units.ts";
import { Doing, VcpuCell } from "../memory/vcpu-area.ts";
import { FaultAnswer, Operation, Status } from "./exits.ts";
import { HardwareWalk, isCanonical } from "./hardware-walk.ts";
import type { Vcpu } from "./vcpu.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const DEMAND_FAULTS = Counter.demand_faults;
const EXITS = Counter.exits;
const INJECTED = Counter.injected;
const NATIVE_FAULTS = Counter.native_faults;
const TLB_DENIALS = Counter.tlb_denials;
const TLB_HITS = Counter.tlb_hits;
const DOING_GUEST = Doing.guest;
const DOING_PAGE_FAULT = Doing.pageFault;
const ANSWER_EMULATED = FaultAnswer.emulated;
const ANSWER_GENERAL_PROTECTION = FaultAnswer.injectGeneralProtection;
const ANSWER_INJECT = FaultAnswer.inject;
const ANSWER_RESTART = FaultAnswer.restart;
const ANSWER_RESUME = FaultAnswer.resume;
const ANSWER_RETRY = FaultAnswer.retry;
const OPERATION_ALTER = Operation.alter;
const OPERATION_COMPARE_EXCHANGE = Operation.compareExchange;
const OPERATION_STORE = Operation.store;
const STATUS_DONE = Status.done;
const STATUS_GENERAL_PROTECTION = Status.generalProtection;
const STATUS_PAGE_FAULT = Status.pageFault;
const STATUS_RESUMED = Status.resumed;
const STATUS_STOPPED = Status.stopped;
const CELL_CR2_HIGH = VcpuCell.cr2High;
const CELL_CR2_LOW = VcpuCell.cr2Low;
const CELL_DOORBELL = VcpuCell.doorbell;
const CELL_SHADOW_LEVELS = VcpuCell.shadowLevels;

const PRESENT = 1;
const WRITE = 2;
const USER = 4;
const FETCH = 16;
const DIRTY = 64;
const IMPLICIT_SUPERVISOR = 1 << 18;
/** What an operation needs of a translation, by `Operation`: rights, and D for a write. */
const NEEDS = Int32Array.of(0, WRITE | DIRTY, WRITE | DIRTY, FETCH, WRITE | DIRTY, WRITE | DIRTY);
/** Not a frame: the hypervisor has changed something, try again. Below it: -2 minus the `Status` of an ended operation. */
const RETRY = -1;
/** No `Status`: the operation has yet to be executed. */
const NOT_EXECUTED = -1;

/** Executes one vCPU's memory operations. */
export class MemoryAccess {
  readonly #vcpu: Vcpu;
  readonly #walk: HardwareWalk;
  readonly #doorbell: Cell;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
    this.#doorbell = cell(vcpu.area + CELL_DOORBELL);
    this.#walk = new HardwareWalk(vcpu);
  }

  /** Executes an operation on 1, 2, 4 or 8 bytes at a linear address; operands stand in the vCPU. Returns a `Status`. */
  run(operation: number, low: number, high: number, size: number): number {
    const vcpu = this.#vcpu;
    vcpu.operation = operation;
    vcpu.size = size;
    vcpu.addressLow = low;
    vcpu.addressHigh = high;
    vcpu.countOperation(operation | (size << 4), low, high);
    const isInPage = (low & (PAGE_BYTES - 1)) + size <= PAGE_BYTES;
    return isInPage && vcpu.aheadLeft === 0
      ? this.#runInPage(operation, low, high, size)
      : this.#runOtherwise(operation, low, high, size);
  }

  #runOtherwise(operation: number, low: number, high: number, size: number): number {
    if (this.#vcpu.aheadLeft !== 0) {
      const status = this.#runEmulated();
      if (status !== NOT_EXECUTED) return status;
    }
    if ((low & (PAGE_BYTES - 1)) + size <= PAGE_BYTES) return this.#runInPage(operation, low, high, size);
    return this.#runAcrossPages(low, high, ((low & -PAGE_BYTES) + PAGE_BYTES) | 0);
  }

  /** What a vCPU does most, with as few calls as can be that may have to wait: each costs under a scheduler. */
  #runInPage(operation: number, low: number, high: number, size: number): number {
    const vcpu = this.#vcpu;
    for (;;) {
      const bits = vcpu.memory.loadWord(this.#doorbell);
      if (bits !== 0 && !vcpu.serveDoorbell(bits)) return STATUS_STOPPED;
      let frame = this.#cached(low, high);
      if (frame < 0) frame = this.#translateAnew(low, high);
      if (frame < 0) {
        if (frame === RETRY) continue;
        return -frame - 2;
      }
      vcpu.frame = frame;
      const { physical } = vcpu;
      const address = (frame << 12) | (low & (PAGE_BYTES - 1));
      if (operation === OPERATION_STORE) {
        physical.write(address, size, vcpu.valueLow, vcpu.valueHigh);
        return STATUS_DONE;
      }
      if (operation === OPERATION_COMPARE_EXCHANGE) this.#exchange(address, size);
      else if (operation === OPERATION_ALTER) physical.alter(address, size, vcpu);
      else physical.read(address, size);
      vcpu.resultLow = physical.low;
      vcpu.resultHigh = physical.high;
      return STATUS_DONE;
    }
  }

  /** Leaves the operation to the emulator, which is still in control. NOT_EXECUTED when the guest resumes at it. */
  #runEmulated(): number {
    const vcpu = this.#vcpu;
    if (!vcpu.poll()) return STATUS_STOPPED;
    // An interrupt came: its handler runs on the processor itself.
    if (vcpu.aheadLeft === 0) return NOT_EXECUTED;
    vcpu.noteDoing(DOING_PAGE_FAULT);
    const isDone = vcpu.hypervisor().emulateNext();
    vcpu.noteDoing(DOING_GUEST);
    return isDone ? STATUS_DONE : NOT_EXECUTED;
  }

  /**
   * Both pages must translate, one after the other with no poll between, before a byte is touched. Addresses that are not
   * canonical come first: a linear address is checked as a whole before any of it is translated.
   */
  #runAcrossPages(low: number, high: number, secondLow: number): number {
    const secondHigh = this.#vcpu.highOfNextPage(secondLow, high);
    if (this.#vcpu.register(CELL_SHADOW_LEVELS) === 4 && !isCanonical(secondHigh))
      return this.#vcpu.poll() ? STATUS_GENERAL_PROTECTION : STATUS_STOPPED;
    const split = PAGE_BYTES - (low & (PAGE_BYTES - 1));
    for (;;) {
      const first = this.#translate(low, high);
      if (first < RETRY) return -first - 2;
      if (first === RETRY) continue;
      const second = this.#lookup(secondLow, secondHigh);
      if (second < RETRY) return -second - 2;
      if (second === RETRY) continue;
      this.#vcpu.frame = first;
      const from = (first << 12) | (low & (PAGE_BYTES - 1));
      this.#performBytes(from, from + split, second << 12);
      return STATUS_DONE;
    }
  }

  /** Frame of an address, RETRY, or -2 minus a `Status` when the operation is over. */
  #translate(low: number, high: number): number {
    return this.#vcpu.poll() ? this.#lookup(low, high) : -2 - STATUS_STOPPED;
  }

  /** As `#translate` without the poll: from the TLB if its entry grants enough, else from the tables. */
  #lookup(low: number, high: number): number {
    const frame = this.#cached(low, high);
    return frame >= 0 ? frame : this.#translateAnew(low, high);
  }

  /** Frame from the TLB, -1 if no entry grants enough. */
  #cached(low: number, high: number): number {
    const vcpu = this.#vcpu;
    const { tlb } = vcpu;
    const entry = tlb.find(low, high);
    if (entry < 0) return -1;
    const need = (vcpu.accessBits & USER) | (NEEDS[vcpu.operation] ?? 0);
    const forbid = (need & FETCH) === 0 ? vcpu.forbidData : vcpu.forbidFetch;
    if (((tlb.flags(entry) | vcpu.waived) & (need | forbid)) !== need) return -1;
    vcpu.counters.add(TLB_HITS);
    return tlb.frame(entry);
  }

  /** When the TLB has no entry, or one that grants too little: a right, or only D, which a walk can set. It goes. */
  #translateAnew(low: number, high: number): number {
    const vcpu = this.#vcpu;
    const { tlb, counters } = vcpu;
    const need = (vcpu.accessBits & USER) | (NEEDS[vcpu.operation] ?? 0);
    const entry = tlb.find(low, high);
    if (entry < 0) return this.#walkTables(low, high, need);
    const forbid = (need & FETCH) === 0 ? vcpu.forbidData : vcpu.forbidFetch;
    const flags = tlb.flags(entry);
    tlb.drop(low, high);
    const denied = (need & ~flags & ~DIRTY) !== 0 || (forbid & flags) !== 0;
    // The SDM (vol. 3, 4.10.4.3) allows a spurious #PF after rights were raised; with nested paging there is none here.
    if (!denied || vcpu.hasNestedPaging()) return this.#walkTables(low, high, need);
    counters.add(TLB_DENIALS);
    return this.#fault(low, high, (need & (WRITE | USER | FETCH)) | PRESENT);
  }

  #walkTables(low: number, high: number, need: number): number {
    const access = (need & (WRITE | USER | FETCH)) | (this.#vcpu.accessBits & IMPLICIT_SUPERVISOR);
    if (this.#vcpu.hasNestedPaging()) return this.#walkNested(low, high, access);
    if (this.#walk.translate(low, high, access)) return this.#walk.frame;
    return this.#fault(low, high, this.#walk.errorCode);
  }

  /** The walk in two dimensions. What the guest's own tables refuse is the guest's #PF, and nobody else's business. */
  #walkNested(low: number, high: number, access: number): number {
    const vcpu = this.#vcpu;
    const { nested } = vcpu;
    if (nested.translate(low, high, access)) return nested.frame;
    if (nested.missingFrame >= 0) {
      this.#beginFault(low, high);
      return this.#conclude(vcpu.hypervisor().nestedFault(nested.missingFrame), low);
    }
    if (nested.errorCode < 0) return -2 - STATUS_GENERAL_PROTECTION;
    vcpu.counters.add(NATIVE_FAULTS);
    vcpu.faultLow = low;
    vcpu.faultHigh = high;
    vcpu.faultErrorCode = nested.errorCode;
    vcpu.setRegister(CELL_CR2_LOW, low);
    vcpu.setRegister(CELL_CR2_HIGH, high);
    return -2 - STATUS_PAGE_FAULT;
  }

  /** Exits with a page fault. The TLB has no entry for the page, as after any #PF (SDM vol. 3, 4.10.4.1). */
  #fault(low: number, high: number, errorCode: number): number {
    if (errorCode < 0) return -2 - STATUS_GENERAL_PROTECTION;
    this.#beginFault(low, high);
    this.#vcpu.counters.add(DEMAND_FAULTS);
    return this.#conclude(this.#vcpu.hypervisor().pageFault(errorCode), low);
  }

  #beginFault(low: number, high: number): void {
    this.#vcpu.faultLow = low;
    this.#vcpu.faultHigh = high;
    this.#vcpu.noteAddress(low, high);
    this.#vcpu.counters.add(EXITS);
    this.#vcpu.noteDoing(DOING_PAGE_FAULT);
  }

  /** What the hypervisor's answer to a fault at an address makes of the operation. */
  #conclude(answer: number, low: number): number {
    this.#vcpu.noteDoing(DOING_GUEST);
    switch (answer) {
      case ANSWER_RETRY:
        return RETRY;
      case ANSWER_EMULATED:
        return -2 - STATUS_DONE;
      case ANSWER_INJECT:
        this.#vcpu.counters.add(INJECTED);
        // The emulator may have refused another page of the access than the one that brought it here.
        if (this.#vcpu.faultLow !== low) this.#vcpu.tlb.drop(this.#vcpu.faultLow, this.#vcpu.faultHigh);
        this.#vcpu.setRegister(CELL_CR2_LOW, this.#vcpu.faultLow);
        this.#vcpu.setRegister(CELL_CR2_HIGH, this.#vcpu.faultHigh);
        return -2 - STATUS_PAGE_FAULT;
      case ANSWER_RESTART:
      case ANSWER_RESUME:
        return -2 - STATUS_RESUMED;
      case ANSWER_GENERAL_PROTECTION:
        return -2 - STATUS_GENERAL_PROTECTION;
      default:
        return -2 - STATUS_STOPPED;
    }
  }

  #exchange(address: number, size: number): void {
    const { physical, expectedLow, expectedHigh, valueLow, valueHigh } = this.#vcpu;
    this.#vcpu.exchanged = physical.exchange(address, size, expectedLow, expectedHigh, valueLow, valueHigh);
  }

  #performBytes(first: number, split: number, second: number): void {
    if (this.#vcpu.operation === OPERATION_STORE) {
      this.#vcpu.physical.writeBytes(
        first,
        this.#vcpu.size,
        split,
        second,
        this.#vcpu.valueLow,
        this.#vcpu.valueHigh,
      );
      return;
    }
    if (this.#vcpu.operation === OPERATION_COMPARE_EXCHANGE) {
      this.#vcpu.exchanged = this.#vcpu.physical.exchangeBytes(
        first,
        this.#vcpu.size,
        split,
        second,
        this.#vcpu.expectedLow,
        this.#vcpu.expectedHigh,
        this.#vcpu.valueLow,
        this.#vcpu.valueHigh,
      );
    } else if (this.#vcpu.operation === OPERATION_ALTER)
      this.#vcpu.physical.alterBytes(first, this.#vcpu.size, split, second, this.#vcpu);
    else this.#vcpu.physical.readBytes(first, this.#vcpu.size, split, second);
    this.#vcpu.resultLow = this.#vcpu.physical.low;
    this.#vcpu.resultHigh = this.#vcpu.physical.high;
  }
}
