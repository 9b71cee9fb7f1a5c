/** What a vCPU exits to. The hypervisor implements it; the machine only knows that something is there. */

/** What became of a guest operation. */
export const Status = {
  /** It was executed. */
  done: 0,
  /** It raised #PF: error code and CR2 are in the vCPU. */
  pageFault: 1,
  /** It raised #GP(0). */
  generalProtection: 2,
  /** The machine stops: the operation was not executed. */
  stopped: 3,
  /** The vCPU goes on at its RIP: the hypervisor has executed the instruction, or it is executed again from its start. */
  resumed: 4,
  /** It raised #UD, or is an instruction that this processor does not have. */
  invalidOpcode: 5,
} as const;

/** What the hypervisor answers to a page fault. */
export const FaultAnswer = {
  /** Execute the operation again. */
  retry: 0,
  /** The hypervisor executed the operation itself; the result is in the vCPU. */
  emulated: 1,
  /** Inject #PF with the error code in `vcpu.faultErrorCode`. */
  inject: 2,
  /** The domain is dead. */
  stop: 3,
  /** The hypervisor executed the instruction at RIP: go on behind it. */
  resume: 4,
  /** Inject #GP(0). */
  injectGeneralProtection: 5,
  /** Execute the instruction at RIP again, from its start. */
  restart: 6,
} as const;

/** Operations that can touch memory. */
export const Operation = {
  load: 0,
  store: 1,
  compareExchange: 2,
  fetch: 3,
  /** Reads, computes and writes in one atomic access: what instructions with LOCK do. */
  alter: 4,
  /** The load of an instruction that stores to the same place next. */
  loadToStore: 5,
} as const;

/** Set in the number of a noted operation that is none of memory; the rest is a `Doing`. Else `Operation` + 16 × size. */
export const OTHER_OPERATION = 0x100;

/** The hypervisor as a vCPU's exits reach it. */
export interface Exits {
  /** #PF at `vcpu.faultLow/High` with hardware's error code; returns a `FaultAnswer`. */
  pageFault(errorCode: number): number;
  /** The operation in flight while `vcpu.aheadLeft` is not 0. True: it was executed; false: the guest resumes at it. */
  emulateNext(): boolean;
  /**
   * A guest frame that the p2m tables do not map, or not for writing, met by the access at `vcpu.faultLow/High`. What it was
   * met as is in `vcpu.nested`; returns a `FaultAnswer`.
   */
  nestedFault(frame: number): number;
  /** MOV to CR3 loads a root that the p2m tables do not map. It comes back, should it only be away; no lock is held. */
  awaitRoot(frame: number): void;
  /** MOV to CR0; returns a `Status`. */
  writeCr0(value: number): number;
  /** MOV to CR3; returns a `Status`. */
  writeCr3(low: number, high: number): number;
  /** MOV to CR4; returns a `Status`. */
  writeCr4(value: number): number;
  /** WRMSR of EFER; returns a `Status`. */
  writeEfer(value: number): number;
  /** INVLPG. True when the hardware's own INVLPG must follow. */
  invlpg(low: number, high: number): boolean;
  /** A hypercall; returns a `Status`, its result is in `vcpu.resultLow`. */
  hypercall(operation: number, first: number, second: number): number;
}

/** What takes an interrupt that another vCPU sent. Called between two guest operations. */
export interface InterruptHandler {
  interrupt(vectors: number): void;
}
