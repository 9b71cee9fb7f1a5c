/**
 * Emulating machine code: a guest's store to one of its pagetables is an instruction at RIP, which is fetched through the
 * guest's own tables, decoded, and executed by the interpreter that the processor has, here with memory accesses that keep
 * the shadows up to date (spec 4.9). What it does is what the bytes say now: neither that they are those of the
 * instruction that faulted is asked, nor that they touch what faulted (spec 20.13).
 */
import { Counter } from "../../memory/counters.ts";
import { NO_MFN, PAGE_BYTES } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { FaultAnswer, Operation, Status } from "../../machine/exits.ts";
import { isCanonical } from "../../machine/hardware-walk.ts";
import { InstructionFetch } from "../../machine/x86/fetch.ts";
import { Interpreter } from "../../machine/x86/interpreter.ts";
import type { MemoryPort } from "../../machine/x86/memory-port.ts";
import { isAbsentEntry, mappedInP2mEntry } from "../p2m-type.ts";
import type { Shadow } from "./shadow.ts";

const PAGE_MASK = PAGE_BYTES - 1;
const UNIT_BYTES = 8;
/** Units that hold the 31 bytes from RIP on which the emulator reads at once, wherever RIP is in the first (spec 4.9). */
const BUFFER_UNITS = 5;

/**
 * Executes instructions at RIP on behalf of the guest. Callers hold the paging lock, or with `unlocked-emulation` do not:
 * then each access takes it once it has been translated.
 */
export class InstructionEmulation implements MemoryPort {
  resultLow = 0;
  resultHigh = 0;
  readonly #shadow: Shadow;
  /** Made with the first instruction: most guests have none. */
  #fetch: InstructionFetch | null = null;
  #interpreter: Interpreter | null = null;
  /** The page that the fault found. */
  #frame: Mfn = NO_MFN;
  /** Where the last translation led. */
  #gfn = -1;
  /** Code that has been read: units from this address on, within one page. */
  readonly #buffer = new Int32Array(2 * BUFFER_UNITS);
  #bufferLow = 0;
  #bufferHigh = 0;
  #bufferUnits = 0;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Emulates what faulted: the instruction at RIP if the vCPU executes machine code, else its operation in flight; that is
   * also all there is of a device's part. Answers a `FaultAnswer`.
   */
  emulateFaulting(frame: Mfn): number {
    const { vcpu, emulation } = this.#shadow;
    return vcpu.code.isExecuting && frame !== NO_MFN ? this.#emulate(frame) : emulation.emulate(frame);
  }

  /**
   * Emulates the instruction at RIP, whose store to `frame` faulted. What it cannot execute is left to the processor, and
   * the page, which then is no pagetable, is unshadowed: there is no second try (spec 20.35).
   */
  #emulate(frame: Mfn): number {
    const { counters, unshadow } = this.#shadow;
    this.#frame = frame;
    this.#bufferUnits = 0;
    switch (this.executeNext()) {
      case Status.done:
        return FaultAnswer.resume;
      case Status.resumed:
        return FaultAnswer.restart;
      case Status.pageFault:
        return FaultAnswer.inject;
      case Status.generalProtection:
        return FaultAnswer.injectGeneralProtection;
      case Status.stopped:
        return FaultAnswer.stop;
      default:
        counters.add(Counter.fault_emulate_failed);
        unshadow.removeShadows(frame, false, true);
        return FaultAnswer.restart;
    }
  }

  /** Decodes the instruction at RIP and executes it. Returns a `Status`; `invalidOpcode` is what it cannot execute. */
  executeNext(): number {
    const { registers } = this.#shadow.vcpu.code;
    this.#fetch ??= new InstructionFetch(registers, this);
    this.#interpreter ??= new Interpreter(registers, this);
    const status = this.#fetch.fetchInstruction();
    if (status !== Status.done) return status;
    const { instruction } = this.#fetch;
    if (!instruction.isEmulated) return Status.invalidOpcode;
    const executed = this.#interpreter.executeInstruction(instruction);
    if (executed === Status.done) this.#shadow.counters.add(Counter.emulated_instructions);
    return executed;
  }

  fetchUnit(low: number, high: number): number {
    const unit = (low - this.#bufferLow) >> 3;
    if (unit < 0 || unit >= this.#bufferUnits || high !== this.#bufferHigh)
      return this.#fillBuffer(low, high);
    this.resultLow = this.#buffer[2 * unit] ?? 0;
    this.resultHigh = this.#buffer[2 * unit + 1] ?? 0;
    return Status.done;
  }

  readMemory(low: number, high: number, size: number): number {
    return this.#read(Operation.load, low, high, size);
  }

  readToWrite(low: number, high: number, size: number): number {
    return this.#read(Operation.loadToStore, low, high, size);
  }

  writeMemory(low: number, high: number, size: number, valueLow: number, valueHigh: number): number {
    const { vcpu } = this.#shadow;
    vcpu.valueLow = valueLow;
    vcpu.valueHigh = valueHigh;
    return this.#write(Operation.store, low, high, size);
  }

  exchangeMemory(
    low: number,
    high: number,
    size: number,
    expectedLow: number,
    expectedHigh: number,
    valueLow: number,
    valueHigh: number,
  ): number {
    const { vcpu } = this.#shadow;
    vcpu.expectedLow = expectedLow;
    vcpu.expectedHigh = expectedHigh;
    vcpu.valueLow = valueLow;
    vcpu.valueHigh = valueHigh;
    return this.#write(Operation.compareExchange, low, high, size);
  }

  alterMemory(
    low: number,
    high: number,
    size: number,
    operation: number,
    valueLow: number,
    valueHigh: number,
    flags: number,
  ): number {
    const { vcpu } = this.#shadow;
    vcpu.code.alteration = operation;
    vcpu.code.flags = flags;
    vcpu.valueLow = valueLow;
    vcpu.valueHigh = valueHigh;
    return this.#write(Operation.alter, low, high, size);
  }

  /** Stores by the one way in which stores to pagetables are emulated: each access translates afresh. */
  #write(operation: number, low: number, high: number, size: number): number {
    const { vcpu, emulation } = this.#shadow;
    if (!this.#begin(operation, low, high, size)) return Status.generalProtection;
    const status = statusOf(emulation.emulate(this.#frame));
    this.resultLow = vcpu.resultLow;
    this.resultHigh = vcpu.resultHigh;
    return status;
  }

  #read(operation: number, low: number, high: number, size: number): number {
    if (!this.#begin(operation, low, high, size)) return Status.generalProtection;
    const first = this.#translate(low, high);
    if (first !== Status.done) return first;
    const firstGfn = this.#gfn;
    const inFirst = PAGE_BYTES - (low & PAGE_MASK);
    let secondGfn = firstGfn;
    if (size > inFirst) {
      const nextLow = ((low & ~PAGE_MASK) + PAGE_BYTES) | 0;
      const second = this.#translate(nextLow, this.#shadow.vcpu.highOfNextPage(nextLow, high));
      if (second !== Status.done) return second;
      secondGfn = this.#gfn;
    }
    return this.#readPages(firstGfn, secondGfn, low & PAGE_MASK, size);
  }

  /** Under the lock the frames are those that the p2m names, and cannot get other owners while they are read. */
  #readPages(firstGfn: number, secondGfn: number, offset: number, size: number): number {
    const { perPage, p2m, vcpu, wanted } = this.#shadow;
    const { physical } = vcpu;
    perPage.beginRead(LockSite.emulate_write);
    const firstEntry = p2m.entryOf(firstGfn);
    const secondEntry = p2m.entryOf(secondGfn);
    const first = mappedInP2mEntry(firstEntry);
    const second = mappedInP2mEntry(secondEntry);
    if (isAbsentEntry(firstEntry)) wanted.gfn = firstGfn;
    else if (isAbsentEntry(secondEntry)) wanted.gfn = secondGfn;
    const isMemory = first !== NO_MFN && second !== NO_MFN;
    const from = first * PAGE_BYTES + offset;
    if (isMemory && offset + size <= PAGE_BYTES) physical.read(from, size);
    else if (isMemory) physical.readBytes(from, size, (first + 1) * PAGE_BYTES, second * PAGE_BYTES);
    perPage.endRead();
    this.resultLow = physical.low;
    this.resultHigh = physical.high;
    if (wanted.gfn >= 0) return Status.resumed;
    // A device's page is none that this emulator reads.
    return isMemory ? Status.done : Status.invalidOpcode;
  }

  /** Reads up to 31 bytes of code, no further than the page: what lies behind is fetched when it is needed. */
  #fillBuffer(low: number, high: number): number {
    if (!this.#begin(Operation.fetch, low, high, UNIT_BYTES)) return Status.generalProtection;
    const refusal = this.#translate(low, high);
    if (refusal !== Status.done) return refusal;
    const { physical } = this.#shadow.vcpu;
    const offset = low & PAGE_MASK;
    const units = Math.min(BUFFER_UNITS, (PAGE_BYTES - offset) >>> 3);
    for (let unit = 0; unit < units; unit++) {
      const status = this.#readPages(this.#gfn, this.#gfn, offset + UNIT_BYTES * unit, UNIT_BYTES);
      if (status !== Status.done) return status;
      this.#buffer[2 * unit] = physical.low;
      this.#buffer[2 * unit + 1] = physical.high;
    }
    this.#bufferLow = low;
    this.#bufferHigh = high;
    this.#bufferUnits = units;
    this.resultLow = this.#buffer[0] ?? 0;
    this.resultHigh = this.#buffer[1] ?? 0;
    return Status.done;
  }

  /** Makes an access the vCPU's operation in flight. False when the address is not canonical. */
  #begin(operation: number, low: number, high: number, size: number): boolean {
    const { vcpu } = this.#shadow;
    vcpu.operation = operation;
    vcpu.size = size;
    vcpu.addressLow = low;
    vcpu.addressHigh = high;
    return vcpu.register(VcpuCell.shadowLevels) !== 4 || isCanonical(high);
  }

  /** Translates for the operation in flight, to `#gfn`. Returns a `Status`, with the fault noted. */
  #translate(low: number, high: number): number {
    const { guest, emulation, vcpu, wanted } = this.#shadow;
    this.#gfn = emulation.gfnOf(low, high);
    if (this.#gfn >= 0) return Status.done;
    wanted.gfn = guest.absentTable();
    if (wanted.gfn >= 0) return Status.resumed;
    vcpu.faultLow = low;
    vcpu.faultHigh = high;
    vcpu.faultErrorCode = guest.walker.errorCode;
    return Status.pageFault;
  }
}

/** What became of an emulated access. Where it is to be tried again, the instruction is, from its start. */
function statusOf(answer: number): number {
  switch (answer) {
    case FaultAnswer.emulated:
      return Status.done;
    case FaultAnswer.inject:
      return Status.pageFault;
    case FaultAnswer.stop:
      return Status.stopped;
    default:
      return Status.resumed;
  }
}
