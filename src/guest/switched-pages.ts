/**
 * Pages whose entries change all the time, with an oracle of what an access to them must do. What an entry grants is
 * published in kernel memory: a word is set to "changing" before the entry changes, and to the new state once it has
 * changed and every vCPU has flushed. An access made while that word stood still must do exactly what the state says, down
 * to the error code of its fault; making an entry present, or raising its rights, needs no flush for that to be so.
 */
import { EntryFlag } from "../machine/entry.ts";
import { Status } from "../machine/exits.ts";
import { FaultCode } from "../machine/fault-code.ts";
import { hex } from "./hex.ts";
import type { Kernel } from "./kernel/kernel.ts";
import { entryHigh, entryLow } from "./hardware.ts";

/** What an entry grants, as bits; 0 is an entry that is not present. */
export const Grant = { present: 1, writable: 2, user: 4, executable: 8, device: 16 } as const;

/** What a probe does. */
export const Probe = { load: 0, store: 1, fetch: 2 } as const;

/** No error code: 0 is that of a supervisor's load from what is not present. */
const DONE = -1;
const CHANGING = 32;
const STATE_BITS = 6;
const GRANTS = 31;
const PAGE_BYTES = 4096;

/** Where the pages are. */
export interface SwitchedSetup {
  /** First address of a `manual` area. */
  readonly start: number;
  readonly pages: number;
  /** First word of kernel data of `pages` words. */
  readonly states: number;
  /** The memory that the pages show when they show memory: one frame each. */
  readonly firstFrame: number;
  /** The frames that they show when they show a device. */
  readonly firstDevice: number;
}

/** One vCPU's view of the pages. Each page is changed by one vCPU at a time; the scenario sees to that. */
export class SwitchedPages {
  readonly #kernel: Kernel;
  readonly #setup: SwitchedSetup;

  constructor(kernel: Kernel, setup: SwitchedSetup) {
    this.#kernel = kernel;
    this.#setup = setup;
  }

  /** Address of a page. */
  addressOf(page: number): number {
    return this.#setup.start + page * PAGE_BYTES;
  }

  /** Changes what the entry of a page grants. */
  grant(page: number, grants: number): void {
    const { cpu, memory } = this.#kernel;
    const state = this.#stateAddress(page);
    const before = cpu.load32(state);
    const next = ((before >>> STATE_BITS) + 1) << STATE_BITS;
    cpu.store32(state, next | CHANGING);
    const now = before & GRANTS;
    const isRaised = now !== 0 && now !== grants && (now | Grant.writable) === grants;
    if (isRaised) memory.allowWrites(this.addressOf(page));
    else if (grants === 0) memory.putLeaf(this.addressOf(page), 0, 0);
    else {
      const frame = (grants & Grant.device) === 0 ? this.#setup.firstFrame : this.#setup.firstDevice;
      const high = entryHigh(frame + page) | this.#executeBit(grants);
      memory.putLeaf(this.addressOf(page), entryLow(frame + page, flagsOf(grants)), high);
    }
    cpu.store32(state, next | grants);
  }

  /**
   * Accesses a page, in user mode or as the kernel, and reports if that did what it must not have done. True when the
   * access was answered by memory or device, and the state stood still; the value is in `cpu.found`.
   */
  probe(page: number, probe: number, byUser: boolean): boolean {
    const { cpu } = this.#kernel;
    const before = cpu.load32(this.#stateAddress(page));
    if (byUser) cpu.enterUserMode();
    const address = this.addressOf(page) + 8 * cpu.random(16);
    let status: number;
    if (probe === Probe.load) status = cpu.tryLoad(address, 4);
    else if (probe === Probe.fetch) status = cpu.tryFetch(address, 4);
    else status = cpu.tryStore(address + 2048, 4, before, 0);
    const errorCode = cpu.vcpu.faultErrorCode;
    const { found } = cpu;
    const byDevice = cpu.wasDevice;
    if (byUser) cpu.enterKernelMode();
    if ((before & CHANGING) !== 0 || cpu.load32(this.#stateAddress(page)) !== before) return false;
    const wanted = this.#errorCodeOf(before & GRANTS, probe, byUser);
    const isDone = status === Status.done;
    if (isDone !== (wanted === DONE) || (!isDone && errorCode !== wanted)) {
      const expected = wanted === DONE ? "to be done" : `error code ${hex(wanted)}`;
      const got = isDone ? "it was done" : `it got error code ${hex(errorCode)}`;
      cpu.violation("translation", `${this.#describe(page, probe, byUser)}: wanted ${expected}, ${got}`);
      return false;
    }
    if (isDone && byDevice !== ((before & Grant.device) !== 0)) {
      const what = byDevice ? "a device instead of memory" : "memory instead of a device";
      cpu.violation("translation", `${this.#describe(page, probe, byUser)}: answered by ${what}`);
      return false;
    }
    cpu.found = found;
    return isDone;
  }

  /** The error code of the fault that an access gets from an entry with these grants, DONE for none (SDM vol. 3, 4.7). */
  #errorCodeOf(grants: number, probe: number, byUser: boolean): number {
    const reportsFetch = this.#kernel.image.format !== "2level";
    const access =
      (probe === Probe.store ? FaultCode.write : 0) |
      (byUser ? FaultCode.user : 0) |
      (probe === Probe.fetch && reportsFetch ? FaultCode.fetch : 0);
    if ((grants & Grant.present) === 0) return access;
    const isRefused =
      (byUser && (grants & Grant.user) === 0) ||
      (probe === Probe.store && (grants & Grant.writable) === 0) ||
      (probe === Probe.fetch && reportsFetch && (grants & Grant.executable) === 0);
    return isRefused ? access | FaultCode.present : DONE;
  }

  #stateAddress(page: number): number {
    return this.#kernel.dataAddress(this.#setup.states + page);
  }

  #executeBit(grants: number): number {
    const canForbid = this.#kernel.image.format !== "2level";
    return canForbid && (grants & Grant.executable) === 0 ? EntryFlag.noExecute : 0;
  }

  #describe(page: number, probe: number, byUser: boolean): string {
    const what = ["load", "store", "fetch"][probe] ?? "access";
    const who = byUser ? "user" : "supervisor";
    return `${who} ${what} at ${hex(this.addressOf(page))}, whose entry stood still`;
  }
}

function flagsOf(grants: number): number {
  let flags: number = EntryFlag.present;
  if ((grants & Grant.writable) !== 0) flags |= EntryFlag.writable;
  if ((grants & Grant.user) !== 0) flags |= EntryFlag.user;
  if ((grants & Grant.device) !== 0) flags |= EntryFlag.cacheDisable;
  return flags;
}
