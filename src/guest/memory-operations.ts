/**
 * The memory operations of a guest: accesses by linear address in whatever mode the vCPU is in, and what becomes of those
 * that fault. Addresses are plain numbers, as cpu.ts explains.
 */
import { vcpuId } from "../memory/units.ts";
import { vcpuArea } from "../memory/vcpu-area.ts";
import { Status } from "../machine/exits.ts";
import type { Vcpu } from "../machine/vcpu.ts";
import { Processor } from "../machine/x86/processor.ts";
import { REGISTER_WORDS } from "../machine/x86/registers.ts";
import { hex } from "./hex.ts";
import { GuestPanic, MachineStopped } from "./program-ends.ts";
import type { GuestFormat } from "./scenario.ts";

/** What a kernel handles. Called between two guest operations, or in the middle of one that faulted. */
export interface TrapHandler {
  /** A page fault. Whether the access shall be tried again; if not, the guest is at its end. */
  pageFault(address: number, errorCode: number): boolean;
  /** Interrupts from other vCPUs: one bit a vector, of the vectors below `VECTORS`. */
  deviceInterrupt(vectors: number): void;
  /** The program has returned: this vCPU will serve nobody any more. */
  goOffline(): void;
}

/** Whose operations they are. */
export interface OperationsSetup {
  readonly vcpu: Vcpu;
  /** vCPUs of the machine. */
  readonly vcpus: number;
  readonly format: GuestFormat;
}

/** The vector that stops the other vCPUs of a guest that panics. */
export const PANIC_VECTOR = 30;

const HIGH_HALF = 2 ** 32;
/** A fault that repeats so often without any progress is a finding, not bad luck. */
const REPEATED_FAULTS_MAX = 10_000;
const NESTED_FAULTS_MAX = 4;
const USER_LEVEL = 3;

/** Memory operations of one vCPU. */
export class MemoryOperations {
  /** Number of this vCPU, from 0. */
  readonly id: number;
  /** vCPUs of the machine. */
  readonly vcpus: number;
  readonly format: GuestFormat;
  readonly vcpu: Vcpu;
  /** The high half of what the last `load64` or `compareExchange64` read. */
  valueHigh = 0;
  /** The low half of what the last compare-exchange found. */
  found = 0;
  /** Who handles faults and interrupts. */
  protected handler: TrapHandler | null = null;
  #nestedFaults = 0;
  /** Made with the first code that runs: most guests run none. */
  #processor: Processor | null = null;
  #runsCode = false;

  constructor({ vcpu, vcpus, format }: OperationsSetup) {
    this.id = vcpu.id;
    this.vcpus = vcpus;
    this.format = format;
    this.vcpu = vcpu;
  }

  /** Loads a byte. */
  load8(address: number): number {
    return this.#load(address, 1);
  }

  /** Loads 2 bytes. */
  load16(address: number): number {
    return this.#load(address, 2);
  }

  /** Loads 4 bytes, as a signed number. */
  load32(address: number): number {
    return this.#load(address, 4);
  }

  /** Loads 8 bytes: the low half is returned, the high one is in `valueHigh`. */
  load64(address: number): number {
    const low = this.#load(address, 8);
    this.valueHigh = this.vcpu.resultHigh;
    return low;
  }

  /** Fetches `size` bytes as an instruction; returns what is there. */
  fetchCode(address: number, size: number): number {
    const status = this.vcpu.fetch(address | 0, highHalf(address), size);
    if (status !== Status.done) this.#untilFetched(status, address, size);
    return this.vcpu.resultLow;
  }

  /** Stores a byte. */
  store8(address: number, value: number): void {
    this.#store(address, 1, value, 0);
  }

  /** Stores 2 bytes. */
  store16(address: number, value: number): void {
    this.#store(address, 2, value, 0);
  }

  /** Stores 4 bytes. */
  store32(address: number, value: number): void {
    this.#store(address, 4, value, 0);
  }

  /** Stores 8 bytes. */
  store64(address: number, low: number, high: number): void {
    this.#store(address, 8, low, high);
  }

  /** Stores a byte if memory holds another; what it held is in `found`. */
  compareExchange8(address: number, expected: number, value: number): boolean {
    return this.#exchange(address, 1, expected, 0, value, 0);
  }

  /** Stores 4 bytes if memory holds four others; what it held is in `found`. */
  compareExchange32(address: number, expected: number, value: number): boolean {
    return this.#exchange(address, 4, expected, 0, value, 0);
  }

  /** Stores 8 bytes if memory holds eight others; what it held is in `found` and `valueHigh`. */
  compareExchange64(
    address: number,
    expectedLow: number,
    expectedHigh: number,
    low: number,
    high: number,
  ): boolean {
    const stored = this.#exchange(address, 8, expectedLow, expectedHigh, low, high);
    this.valueHigh = this.vcpu.resultHigh;
    return stored;
  }

  /** Adds to a word by compare-exchange; returns what it held. */
  add32(address: number, delta: number): number {
    let seen = this.load32(address);
    while (!this.compareExchange32(address, seen, (seen + delta) | 0)) seen = this.found;
    return seen;
  }

  /** Sets and clears bits of a word by compare-exchange; returns what it held. */
  updateBits32(address: number, clear: number, set: number): number {
    let seen = this.load32(address);
    while (!this.compareExchange32(address, seen, (seen & ~clear) | set)) seen = this.found;
    return seen;
  }

  /** Exchanges a word; returns what it held. */
  exchange32(address: number, value: number): number {
    let seen = this.load32(address);
    while (!this.compareExchange32(address, seen, value)) seen = this.found;
    return seen;
  }

  /**
   * Loads without the kernel's help: a page fault is the answer, as for code with an exception table. Returns a `Status`;
   * the value is in `found` and `valueHigh`, the error code of a fault in `vcpu.faultErrorCode`.
   */
  tryLoad(address: number, size: number): number {
    const status = this.vcpu.load(address | 0, highHalf(address), size);
    if (status === Status.stopped) throw new MachineStopped();
    this.found = this.vcpu.resultLow;
    this.valueHigh = this.vcpu.resultHigh;
    return status;
  }

  /** Stores without the kernel's help; returns a `Status`. */
  tryStore(address: number, size: number, low: number, high: number): number {
    const status = this.vcpu.store(address | 0, highHalf(address), size, low, high);
    if (status === Status.stopped) throw new MachineStopped();
    return status;
  }

  /** Fetches an instruction's bytes without the kernel's help; returns a `Status`. */
  tryFetch(address: number, size: number): number {
    const status = this.vcpu.fetch(address | 0, highHalf(address), size);
    if (status === Status.stopped) throw new MachineStopped();
    return status;
  }

  /** Sets a general register, by `Register`; the high half of a 32-bit guest's means nothing. */
  setGeneral(register: number, low: number, high = 0): void {
    this.vcpu.code.registers.assign(register, 8, low, high);
  }

  /** The low half of a general register; the high one is in `valueHigh`. */
  general(register: number): number {
    const { registers } = this.vcpu.code;
    this.valueHigh = registers.highOf(register, 8);
    return registers.lowOf(register, 8);
  }

  /**
   * Executes machine code from `start` on until RIP is `end`, where there must be a HLT or the like: an emulator that
   * executes ahead knows of no end. `bits` is what the code segment says: 16, 32, or 64. Code
   * that runs while other code does, in an interrupt or a fault, saves and restores the registers around it.
   */
  runCode(start: number, end: number, bits = this.format === "4level" ? 64 : 32): void {
    const { registers } = this.vcpu.code;
    const saved = this.#runsCode ? new Int32Array(REGISTER_WORDS) : null;
    if (saved !== null) registers.save(saved);
    this.#runsCode = true;
    this.#processor ??= new Processor(this.vcpu);
    registers.codeBits = bits;
    registers.jumpTo(start | 0, bits === 64 ? highHalf(start) : 0);
    this.#untilRip(this.#processor, end | 0, bits === 64 ? highHalf(end) : 0);
    this.#runsCode = saved !== null;
    if (saved !== null) registers.restore(saved);
  }

  #untilRip(processor: Processor, endLow: number, endHigh: number): void {
    const { registers } = this.vcpu.code;
    let faults = 0;
    while (registers.ripLow !== endLow || registers.ripHigh !== endHigh) {
      const status = processor.executeNext();
      if (status === Status.done || status === Status.resumed) faults = 0;
      else this.#afterFault(status, registers.ripHigh * HIGH_HALF + (registers.ripLow >>> 0), faults++);
    }
  }

  /** Whether the last load was answered by a device instead of memory. */
  get wasDevice(): boolean {
    return this.vcpu.frame < 0;
  }

  /** Whether accesses are those of user mode. */
  get isUserMode(): boolean {
    return this.vcpu.cpl === USER_LEVEL;
  }

  /** Accesses that follow are those of user mode. */
  enterUserMode(): void {
    this.vcpu.setPrivilege(USER_LEVEL, false, false);
  }

  /** Accesses that follow are those of the kernel. */
  enterKernelMode(): void {
    this.vcpu.setPrivilege(0, false, false);
  }

  /** Loads 4 bytes of kernel memory, from user mode by way of the kernel. */
  loadKernel32(address: number): number {
    if (!this.isUserMode) return this.load32(address);
    this.enterKernelMode();
    const value = this.load32(address);
    this.enterUserMode();
    return value;
  }

  /** Stores 4 bytes of kernel memory, from user mode by way of the kernel. */
  storeKernel32(address: number, value: number): void {
    if (!this.isUserMode) {
      this.store32(address, value);
      return;
    }
    this.enterKernelMode();
    this.store32(address, value);
    this.enterUserMode();
  }

  /** STAC and CLAC: whether the kernel may touch user pages while CR4.SMAP is set. */
  allowUserAccess(isAllowed: boolean): void {
    this.vcpu.setPrivilege(0, isAllowed, false);
  }

  /** Who handles faults and interrupts from now on. */
  setHandler(handler: TrapHandler | null): void {
    this.handler = handler;
  }

  /** Reports that something is wrong with what the machine did. The program goes on. */
  violation(check: string, message: string): void {
    this.vcpu.reportViolation(check, message);
  }

  /** Reports something after which the guest cannot go on, and stops all its vCPUs. */
  panic(check: string, message: string): never {
    this.violation(check, message);
    for (let id = 0; id < this.vcpus; id++) {
      if (id !== this.id) this.sendInterrupt(id, PANIC_VECTOR);
    }
    throw new GuestPanic();
  }

  /** Sends an interrupt to another vCPU; vector 0 to `VECTORS` - 1. */
  sendInterrupt(target: number, vector: number): void {
    const { layout } = this.vcpu;
    this.vcpu.sendInterrupt(vcpuArea(layout, vcpuId(target)), vector);
  }

  #load(address: number, size: number): number {
    const status = this.vcpu.load(address | 0, highHalf(address), size);
    if (status !== Status.done) this.#untilLoaded(status, address, size);
    return this.vcpu.resultLow;
  }

  #untilLoaded(first: number, address: number, size: number): void {
    let status = first;
    for (let faults = 0; status !== Status.done; faults++) {
      this.#afterFault(status, address, faults);
      status = this.vcpu.load(address | 0, highHalf(address), size);
    }
  }

  #untilFetched(first: number, address: number, size: number): void {
    let status = first;
    for (let faults = 0; status !== Status.done; faults++) {
      this.#afterFault(status, address, faults);
      status = this.vcpu.fetch(address | 0, highHalf(address), size);
    }
  }

  #store(address: number, size: number, low: number, high: number): void {
    let status = this.vcpu.store(address | 0, highHalf(address), size, low, high);
    for (let faults = 0; status !== Status.done; faults++) {
      this.#afterFault(status, address, faults);
      status = this.vcpu.store(address | 0, highHalf(address), size, low, high);
    }
  }

  #exchange(
    address: number,
    size: number,
    expectedLow: number,
    expectedHigh: number,
    low: number,
    high: number,
  ): boolean {
    const { vcpu } = this;
    for (let faults = 0; ; faults++) {
      // Set anew for every try: the fault handler's own operations use the same fields.
      vcpu.expectedLow = expectedLow;
      vcpu.expectedHigh = expectedHigh;
      vcpu.valueLow = low;
      vcpu.valueHigh = high;
      const status = vcpu.compareExchange(address | 0, highHalf(address), size);
      if (status === Status.done) break;
      this.#afterFault(status, address, faults);
    }
    this.found = vcpu.resultLow;
    return vcpu.exchanged;
  }

  /** Returns when the access may be tried again. */
  #afterFault(status: number, address: number, faults: number): void {
    if (status === Status.stopped) throw new MachineStopped();
    if (status === Status.generalProtection) this.panic("guest", `#GP on an access to ${hex(address)}`);
    if (status === Status.invalidOpcode) this.panic("guest", `#UD at ${hex(address)}`);
    const { vcpu } = this;
    const errorCode = vcpu.faultErrorCode;
    const at = this.#faultAddress();
    if (faults > REPEATED_FAULTS_MAX) {
      this.panic("progress", `page fault at ${hex(at)}, error code ${hex(errorCode)}, does not end`);
    }
    const { handler } = this;
    if (handler === null || this.#nestedFaults === NESTED_FAULTS_MAX) {
      this.panic("guest", `page fault at ${hex(at)}, error code ${hex(errorCode)}, with nobody to handle it`);
    }
    const { cpl, alignmentCheck } = vcpu;
    if (cpl !== 0 || alignmentCheck) this.enterKernelMode();
    this.#nestedFaults++;
    const isHandled = handler.pageFault(at, errorCode);
    this.#nestedFaults--;
    if (!isHandled)
      this.panic("guest", `page fault at ${hex(at)}, error code ${hex(errorCode)}, was not expected`);
    if (cpl !== 0 || alignmentCheck) vcpu.setPrivilege(cpl, alignmentCheck, false);
  }

  /** CR2. */
  #faultAddress(): number {
    const low = this.vcpu.faultLow >>> 0;
    return this.format === "4level" ? this.vcpu.faultHigh * HIGH_HALF + low : low;
  }
}

/** Bits 32 to 63 of an address or an entry. */
export function highHalf(address: number): number {
  return Math.floor(address / HIGH_HALF) | 0;
}
