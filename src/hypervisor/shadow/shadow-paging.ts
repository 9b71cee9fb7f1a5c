/** Shadow mode behind the paging interface. */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { SHADOWED } from "../../memory/frame-table.ts";
import { NO_MFN, PAGE_BYTES, mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { FaultAnswer } from "../../machine/exits.ts";
import { describeShadow, describeVisited } from "../describe-walk.ts";
import { AbsentPages } from "../absent-pages.ts";
import { GuestRegisters } from "../guest-registers.ts";
import type { GuestState } from "../guest-state.ts";
import type { LogDirty } from "../log-dirty.ts";
import { discardsWrites, ramInP2mEntry } from "../p2m-type.ts";
import type { PagingInterface } from "../paging-interface.ts";
import { dropAll } from "./domain-teardown.ts";
import { invalidatePage } from "./invlpg.ts";
import { RootOnDemand } from "./root-on-demand.ts";
import type { Shadow } from "./shadow.ts";

/** The number of the hypercall that says that a process is dying: `Hypercall` of the guest. */
const PAGETABLE_DYING = 2;
const PRESENT = 1;
const WRITE = 2;
const USER = 4;
const FETCH = 16;

/** The shadow mode of one vCPU, or of the toolstack's thread. */
export class ShadowPaging implements PagingInterface {
  readonly guest: GuestState;
  readonly shadow: Shadow;
  readonly logDirty: LogDirty;
  readonly #registers: GuestRegisters;
  readonly #absent: AbsentPages;

  constructor(shadow: Shadow) {
    this.guest = shadow.guest;
    this.shadow = shadow;
    this.logDirty = shadow.logDirty;
    this.#absent = new AbsentPages(shadow, this);
    this.#registers = new GuestRegisters(shadow.vcpu, shadow.domain, new RootOnDemand(shadow, this.#absent));
  }

  pageFault(errorCode: number): number {
    const answer = this.shadow.fault.handle(errorCode);
    return this.shadow.wanted.gfn < 0 ? answer : this.#bringBack(answer, errorCode);
  }

  emulateNext(): boolean {
    const isExecuted = this.shadow.ahead.executeNext();
    // The guest resumes there, and faults if it still is so.
    this.shadow.wanted.gfn = -1;
    return isExecuted;
  }

  nestedFault(frame: number): number {
    throw new Error(`a nested fault at guest frame 0x${frame.toString(16)}, but hardware walks shadows`);
  }

  awaitRoot(frame: number): void {
    throw new Error(`hardware has no root at guest frame 0x${frame.toString(16)}, but it walks shadows`);
  }

  writeCr0(value: number): number {
    return this.#registers.writeCr0(value);
  }

  writeCr3(low: number, high: number): number {
    return this.#registers.writeCr3(low, high);
  }

  writeCr4(value: number): number {
    return this.#registers.writeCr4(value);
  }

  writeEfer(value: number): number {
    return this.#registers.writeEfer(value);
  }

  invlpg(low: number, high: number): boolean {
    return invalidatePage(this.shadow, low, high);
  }

  hypercall(operation: number, first: number, second: number): number {
    const { switches, dying, domain } = this.shadow;
    if (operation === PAGETABLE_DYING && switches["pagetable-dying"] && !domain.isDead())
      dying.announce(first, second);
    return this.#registers.hypercall(operation);
  }

  initDomain(): void {
    const { domain, pool, switches, config } = this.shadow;
    domain.write(DomainCell.linuxL3Toplevel, switches.pinning && switches["linux-l3-toplevel"] ? 1 : 0);
    pool.setAllocation(config.poolPages);
  }

  teardownDomain(leaks: string[]): void {
    dropAll(this.shadow, leaks);
  }

  initVcpu(): void {
    this.shadow.modes.update();
  }

  teardownVcpu(): void {
    this.shadow.modes.teardown();
  }

  beginP2mWrite(_gfn: number, oldFrame: number): void {
    const { lock, unshadow, counters, domain, freeWalk } = this.shadow;
    lock.acquire(LockSite.p2m_write);
    counters.add(Counter.p2m_writes);
    freeWalk.noteChange();
    if (oldFrame === NO_MFN || domain.read(DomainCell.tornDown) !== 0) return;
    unshadow.removeShadows(mfn(oldFrame), false, true);
    unshadow.removeAllMappings(mfn(oldFrame));
    // Even if no leaf mapped it: the guest may have taken the mapping away and not flushed, and the frame goes to others.
    this.shadow.flushAll();
  }

  /**
   * A walk or an emulation without the lock may have read the old entry since the flush that took its mappings away. Its
   * vCPU acknowledges no flush before it is done with what it found. Xen's hold references to pages meanwhile (spec 4.1).
   */
  awaitP2mReaders(): void {
    const { switches, emulatesUnlocked } = this.shadow;
    const readsWithoutLock = switches["lock-free-walk"] || emulatesUnlocked || switches["emulate-ahead"];
    if (readsWithoutLock) this.shadow.flushAll();
  }

  /** Magic entries name gfns, so they outlive the mapping that they were made for: all tables go (spec 12.3). */
  endP2mWrite(): void {
    const { lock, unshadow, domain } = this.shadow;
    if (domain.hasFastMmioEntries()) {
      unshadow.blowTables();
      domain.forgetFastMmioEntries();
    }
    lock.release();
  }

  setAllocation(pages: number): number {
    const { lock, pool, domain } = this.shadow;
    lock.acquire(LockSite.set_allocation);
    const size = domain.isDead() ? this.allocation() : pool.setAllocation(pages);
    lock.release();
    return size;
  }

  allocation(): number {
    const { domain } = this.shadow;
    return domain.read(DomainCell.poolTotal) + domain.read(DomainCell.p2mPages);
  }

  /** As Xen does it: all shadows go, and each mapping is made anew when it is used (spec 11.3, 11.6). */
  dropMappings(): void {
    this.shadow.unshadow.blowTables();
  }

  protectPart(position: number): number {
    return this.shadow.protection.protectPart(position);
  }

  beginVram(first: number, pages: number, milliseconds: number): void {
    this.shadow.vram.begin(first, pages, milliseconds);
  }

  lookAtVram(bitmap: Int32Array, milliseconds: number): number {
    return this.shadow.vram.look(bitmap, milliseconds);
  }

  /**
   * The store and the news of it are one hold of the lock, as for an emulated write. Xen unshadows the page by the fast
   * method and leaves it shadowed if that fails; a page that stays shadowed is validated here, so that no stale entry
   * can answer.
   */
  deviceWrite(address: number, value: number): boolean {
    const { lock, p2m, memory, frames, unshadow, validation, counters, freeWalk, logDirty } = this.shadow;
    lock.acquire(LockSite.device_modified);
    const entry = p2m.entryOf(Math.floor(address / PAGE_BYTES));
    const frame = discardsWrites(entry) ? NO_MFN : ramInP2mEntry(entry);
    const offset = address % PAGE_BYTES;
    if (frame !== NO_MFN) {
      counters.add(Counter.device_writes);
      memory.storeWord((frame << 10) | (offset >>> 2), value);
      logDirty.markFrame(frame);
      if ((frames.shadowFlags(frame) & SHADOWED) !== 0) {
        counters.add(Counter.device_modified);
        unshadow.removeShadows(frame, true, false);
        validation.validate(frame, offset, 4);
        freeWalk.noteChange();
        this.shadow.flushAll();
      }
    }
    lock.release();
    return frame !== NO_MFN;
  }

  /** The operation is made again once the page is back. If it cannot be had, the guest finds nothing there (spec 13). */
  #bringBack(answer: number, errorCode: number): number {
    const { vcpu, counters, guest } = this.shadow;
    if (this.#absent.bringBack()) return answer;
    counters.add(Counter.fault_bail_bad_gfn);
    vcpu.faultErrorCode =
      PRESENT | (errorCode & (guest.reportsFetches() ? WRITE | USER | FETCH : WRITE | USER));
    return FaultAnswer.inject;
  }

  readGuestWord(address: number): number {
    const { p2m, memory } = this.shadow;
    const frame = p2m.frameOf(Math.floor(address / PAGE_BYTES));
    return frame === NO_MFN ? 0 : memory.loadWord((frame << 10) | ((address % PAGE_BYTES) >>> 2));
  }

  describeGuestWalk(low: number, high: number): string[] {
    const { guest } = this.shadow;
    const passed = guest.observe(low, high, 0, true);
    return describeVisited(guest.observer, guest.register(VcpuCell.guestLevels), passed);
  }

  describeHardwareWalk(low: number, high: number): string[] {
    return describeShadow(this.shadow, low, high);
  }
}

/** The parts of shadow mode behind a paging interface. Throws when another mode is behind it. */
export function shadowOf(paging: PagingInterface): Shadow {
  if (paging instanceof ShadowPaging) return paging.shadow;
  throw new Error("the machine does not run in shadow mode: it has no shadows");
}
