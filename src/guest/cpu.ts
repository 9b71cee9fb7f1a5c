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
import { VcpuCell } from "../memory/vcpu-area.ts";
import { Cr0, Cr4, Efer } from "../machine/control-registers.ts";
import { Status } from "../machine/exits.ts";
import type { InterruptHandler } from "../machine/exits.ts";
import type { Vcpu } from "../machine/vcpu.ts";
import { MemoryOperations, PANIC_VECTOR, highHalf } from "./memory-operations.ts";
import { GuestPanic, MachineStopped } from "./program-ends.ts";
import { Random } from "./random.ts";
import { Hypercall } from "./ports.ts";
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

/** Interrupt vectors that a kernel may use are below this; those above are the Cpu's own. */
export const VECTORS = 28;
const KICK_VECTOR = 29;
const KERNEL_VECTORS = (1 << VECTORS) - 1;

/** One vCPU, for the programs that run on it. */
export class Cpu extends MemoryOperations implements InterruptHandler {
  readonly #limits: RunLimits;
  readonly #operationsMax: number;
  readonly #random: Random;
  #operationsBefore = 0;
  #operations = 0;

  constructor({ vcpu, vcpus, format, seed, operationsMax, limits }: CpuSetup) {
    super({ vcpu, vcpus, format });
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

  /** Tells the hypervisor that the process whose root is loaded is about to be taken apart. */
  announceDeath(): void {
    const { vcpu } = this;
    this.hypercall(Hypercall.pagetableDying, vcpu.register(VcpuCell.cr3Low), vcpu.register(VcpuCell.cr3High));
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

  /** Exits to the hypervisor so far. */
  exits(): number {
    return this.vcpu.counters.value(Counter.exits);
  }

  /** The program has returned. Called once, by the engine. */
  finish(): void {
    this.handler?.goOffline();
    this.vcpu.interruptHandler = null;
  }

  /** An interrupt arrives, between two guest operations. */
  interrupt(vectors: number): void {
    if ((vectors & (1 << PANIC_VECTOR)) !== 0) throw new GuestPanic();
    const rest = vectors & KERNEL_VECTORS;
    const handler = this.handler;
    if (rest === 0 || handler === null) return;
    const { cpl, alignmentCheck } = this.vcpu;
    if (cpl !== 0 || alignmentCheck) this.enterKernelMode();
    handler.deviceInterrupt(rest);
    if (cpl !== 0 || alignmentCheck) this.vcpu.setPrivilege(cpl, alignmentCheck, false);
  }

  #must(status: number, what: string): void {
    if (status === Status.stopped) throw new MachineStopped();
    if (status !== Status.done) this.panic("guest", `#GP on ${what}`);
  }
}
