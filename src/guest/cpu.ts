/**
 * A vCPU as the programs of a guest see it: loads and stores by linear address, control registers, interrupts.
 *
 * Addresses are plain numbers. A 32-bit guest's run from 0 to 2^32 - 1. A 64-bit guest's are sign-extended, as canonical
 * addresses are: the upper half of the address space is negative, and every address is exact in a double. While paging is
 * off an address is a guest physical one.
 *
 * A page fault that the hypervisor injects goes to the kernel's handler, and the access is then tried again, as a real
 * processor would. When the machine stops in the middle of an operation it throws `MachineStopped`; that path is cold.
 */
import { Counter } from "../memory/counters.ts";
import { vcpuId } from "../memory/units.ts";
import { VcpuCell, vcpuArea } from "../memory/vcpu-area.ts";
import { Cr0, Cr4, Efer } from "../machine/control-registers.ts";
import { Status } from "../machine/exits.ts";
import type { InterruptHandler } from "../machine/exits.ts";
import type { Vcpu } from "../machine/vcpu.ts";
import { Random } from "./random.ts";
import type { GuestFormat } from "./scenario.ts";

/** When a run is over: the time is, or somebody asked for the end. The engine supplies it. */
export interface RunLimits {
  /** Asked once a round. Programs then end by themselves. */
  isOver(): boolean;
}

/** What the engine makes a `Cpu` of. */
export interface CpuSetup {
  readonly vcpu: Vcpu;
  /** vCPUs of the machine. */
  readonly vcpus: number;
  readonly format: GuestFormat;
  /** Seed of the run; each vCPU draws from a stream of its own. */
  readonly seed: number;
  /** Guest operations of this vCPU after which its program ends; 0 for no bound. */
  readonly operationsMax: number;
  readonly limits: RunLimits;
}

/** What a kernel handles. Called between two guest operations, or in the middle of one that faulted. */
export interface TrapHandler {
  /** A page fault. Whether the access shall be tried again; if not, the guest is at its end. */
  pageFault(address: number, errorCode: number): boolean;
  /** Interrupts from other vCPUs: one bit a vector, of the vectors below `VECTORS`. */
  deviceInterrupt(vectors: number): void;
  /** The program has returned: this vCPU will serve nobody any more. */
  goOffline(): void;
}

/** The machine stopped in the middle of a guest operation: the run was broken off, or the domain destroyed. */
export class MachineStopped extends Error {
  constructor() {
    super("the machine stopped");
    this.name = "MachineStopped";
  }
}

/** The guest cannot go on; the reason has been reported as a violation. */
export class GuestPanic extends Error {
  constructor() {
    super("the guest panicked");
    this.name = "GuestPanic";
  }
}

/** Interrupt vectors that a kernel may use are below this; those above are the Cpu's own. */
export const VECTORS = 28;
const KICK_VECTOR = 29;
const PANIC_VECTOR = 30;
const KERNEL_VECTORS = (1 << VECTORS) - 1;

const HIGH_HALF = 2 ** 32;
/** A fault that repeats so often without any progress is a finding, not bad luck. */
const REPEATED_FAULTS_MAX = 10_000;
const NESTED_FAULTS_MAX = 4;
const USER_LEVEL = 3;

/** One vCPU, for the programs that run on it. */
export class Cpu implements InterruptHandler {
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
  readonly #limits: RunLimits;
  readonly #operationsMax: number;
  readonly #random: Random;
  #operationsBefore = 0;
  #operations = 0;
  #handler: TrapHandler | null = null;
  #nestedFaults = 0;

  constructor({ vcpu, vcpus, format, seed, operationsMax, limits }: CpuSetup) {
    this.id = vcpu.id;
    this.vcpus = vcpus;
    this.format = format;
    this.vcpu = vcpu;
    this.#limits = limits;
    this.#operationsMax = operationsMax;
    this.#random = new Random(seed, vcpu.id);
    this.#operationsBefore = vcpu.operations;
    vcpu.interruptHandler = this;
  }

  /** Whether the program shall go on for another round. */
  running(): boolean {
    const now = this.vcpu.operations;
    this.#operations += (now - this.#operationsBefore) >>> 0;
    this.#operationsBefore = now;
    if (this.#operationsMax !== 0 && this.#operations >= this.#operationsMax) return false;
    return !this.#limits.isOver();
  }

  /** A random number from 0 to `bound` - 1. */
  random(bound: number): number {
    return this.#random.below(bound);
  }

  /** True once in `times`, at random. */
  oneIn(times: number): boolean {
    return this.#random.below(times) === 0;
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

  /** Whether the last load was answered by a device instead of memory. */
  get wasDevice(): boolean {
    return this.vcpu.frame < 0;
  }

  /** MOV to CR3: the physical address of the root table. */
  loadRoot(physicalAddress: number): void {
    this.#must(this.vcpu.writeCr3(physicalAddress | 0, highHalf(physicalAddress)), "MOV to CR3");
  }

  /** INVLPG. */
  invlpg(address: number): void {
    if (this.vcpu.invlpg(address | 0, highHalf(address)) === Status.stopped) throw new MachineStopped();
  }

  /** CR0, as the guest reads it. */
  readCr0(): number {
    return this.vcpu.register(VcpuCell.cr0);
  }

  /** CR4, as the guest reads it. */
  readCr4(): number {
    return this.vcpu.register(VcpuCell.cr4);
  }

  /** EFER, as the guest reads it. */
  readEfer(): number {
    return this.vcpu.register(VcpuCell.efer);
  }

  /** MOV to CR0. */
  writeCr0(value: number): void {
    this.#must(this.vcpu.writeCr0(value), "MOV to CR0");
  }

  /** MOV to CR4. */
  writeCr4(value: number): void {
    this.#must(this.vcpu.writeCr4(value), "MOV to CR4");
  }

  /** WRMSR of EFER. */
  writeEfer(value: number): void {
    this.#must(this.vcpu.writeEfer(value), "WRMSR of EFER");
  }

  /** Switches paging on in the order that processors ask for: CR4, EFER, CR3, CR0. */
  enablePaging(root: number): void {
    const { format } = this;
    const keep = this.readCr4() & ~(Cr4.pae | Cr4.pse);
    this.writeCr4(keep | Cr4.pge | (format === "2level" ? Cr4.pse : Cr4.pae));
    const longMode = format === "4level" ? Efer.lme : 0;
    this.writeEfer(format === "2level" ? 0 : longMode | Efer.nxe);
    this.loadRoot(root);
    this.writeCr0((this.readCr0() & ~Cr0.cd) | Cr0.pg | Cr0.wp | Cr0.pe);
  }

  /** Switches paging off: addresses are physical afterwards. */
  disablePaging(): void {
    this.writeCr0(this.readCr0() & ~Cr0.pg);
  }

  /** A hypercall; returns its result. */
  hypercall(operation: number, first: number, second: number): number {
    this.#must(this.vcpu.hypercall(operation, first, second), "hypercall");
    return this.vcpu.resultLow;
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

  /** Sends an interrupt to another vCPU; vector 0 to `VECTORS` - 1. */
  sendInterrupt(target: number, vector: number): void {
    const { layout } = this.vcpu;
    this.vcpu.sendInterrupt(vcpuArea(layout, vcpuId(target)), vector);
  }

  /** Wakes a vCPU from HLT, for no other reason. */
  kick(target: number): void {
    this.sendInterrupt(target, KICK_VECTOR);
  }

  /** CLI: interrupts stay pending. HLT then returns at once if there is one, so that none is slept through. */
  disableInterrupts(): void {
    this.vcpu.interruptHandler = null;
  }

  /** STI: what is pending is taken now. */
  enableInterrupts(): void {
    this.vcpu.interruptHandler = this;
    this.takeInterrupts();
  }

  /** Takes what interrupts are pending. */
  takeInterrupts(): void {
    if (!this.vcpu.poll()) throw new MachineStopped();
  }

  /** HLT. */
  halt(): void {
    if (this.vcpu.halt() === Status.stopped) throw new MachineStopped();
  }

  /** Who handles faults and interrupts from now on. */
  setHandler(handler: TrapHandler | null): void {
    this.#handler = handler;
  }

  /** Exits to the hypervisor so far. */
  exits(): number {
    return this.vcpu.counters.value(Counter.exits);
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

  /** The program has returned. Called once, by the engine. */
  finish(): void {
    this.#handler?.goOffline();
    this.vcpu.interruptHandler = null;
  }

  /** An interrupt arrives, between two guest operations. */
  interrupt(vectors: number): void {
    if ((vectors & (1 << PANIC_VECTOR)) !== 0) throw new GuestPanic();
    const rest = vectors & KERNEL_VECTORS;
    const handler = this.#handler;
    if (rest === 0 || handler === null) return;
    const { cpl, alignmentCheck } = this.vcpu;
    if (cpl !== 0 || alignmentCheck) this.enterKernelMode();
    handler.deviceInterrupt(rest);
    if (cpl !== 0 || alignmentCheck) this.vcpu.setPrivilege(cpl, alignmentCheck, false);
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
    const { vcpu } = this;
    const errorCode = vcpu.faultErrorCode;
    const at = this.#faultAddress();
    if (faults > REPEATED_FAULTS_MAX) {
      this.panic("progress", `page fault at ${hex(at)}, error code ${hex(errorCode)}, does not end`);
    }
    const handler = this.#handler;
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

  #must(status: number, what: string): void {
    if (status === Status.stopped) throw new MachineStopped();
    if (status !== Status.done) this.panic("guest", `#GP on ${what}`);
  }
}

/** Bits 32 to 63 of an address or an entry. */
function highHalf(address: number): number {
  return Math.floor(address / HIGH_HALF) | 0;
}

/** An address for a message. */
export function hex(address: number): string {
  if (address >= 0) return `0x${address.toString(16)}`;
  return `0x${(address + 2 ** 48).toString(16).padStart(12, "0").padStart(16, "f")}`;
}
