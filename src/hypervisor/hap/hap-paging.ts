/** Hardware-assisted paging behind the paging interface. */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { NO_MFN, PAGE_BYTES, mfn, vcpuId } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { describeNested, describeVisited } from "../describe-walk.ts";
import { AbsentPages } from "../absent-pages.ts";
import { GuestRegisters } from "../guest-registers.ts";
import type { GuestState } from "../guest-state.ts";
import type { LogDirty } from "../log-dirty.ts";
import { discardsWrites, isAbsentEntry, ramInP2mEntry } from "../p2m-type.ts";
import type { PagingInterface } from "../paging-interface.ts";
import type { Hap } from "./hap.ts";

/** Entries of the p2m that lose write access in one hold of the lock. */
const PAGES_AT_ONCE = 512;

/** The hap mode of one vCPU, or of the toolstack's thread. */
export class HapPaging implements PagingInterface {
  readonly guest: GuestState;
  readonly hap: Hap;
  readonly logDirty: LogDirty;
  readonly #registers: GuestRegisters;
  readonly #absent: AbsentPages;

  constructor(hap: Hap) {
    this.guest = hap.guest;
    this.hap = hap;
    this.logDirty = hap.logDirty;
    this.#absent = new AbsentPages(hap, this);
    this.#registers = new GuestRegisters(hap.vcpu, hap.domain, hap.modes);
  }

  /** Never called, and so are MOV CR3 and INVLPG: none of them is an exit. */
  pageFault(): number {
    throw new Error("a page fault exits, but hardware walks the guest's tables");
  }

  emulateNext(): boolean {
    throw new Error("the emulator is in control, but nothing is emulated ahead where nothing is shadowed");
  }

  nestedFault(frame: number): number {
    const answer = this.hap.fault.handle(frame);
    return this.hap.wanted.gfn < 0 ? answer : this.#bringBack(answer);
  }

  awaitRoot(frame: number): void {
    const { p2m, wanted } = this.hap;
    if (!isAbsentEntry(p2m.entryOf(frame))) return;
    wanted.gfn = frame;
    this.#absent.bringBack();
  }

  /** The operation is made again once the page is back. If it cannot be had, the guest finds nothing there (spec 13). */
  #bringBack(answer: number): number {
    return this.#absent.bringBack() ? answer : this.hap.fault.injectNoMemory();
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

  invlpg(): boolean {
    throw new Error("INVLPG exits, but hardware walks the guest's tables");
  }

  hypercall(operation: number): number {
    return this.#registers.hypercall(operation);
  }

  initDomain(): void {
    const { pool, tables, config } = this.hap;
    pool.setAllocation(config.poolPages);
    tables.build();
  }

  teardownDomain(leaks: string[]): void {
    const { memory, layout, config, pages, tables, pool, domain, logDirty } = this.hap;
    for (let id = 0; id < config.vcpus; id++) {
      const area = vcpuArea(layout, vcpuId(id));
      memory.storeWord(area + VcpuCell.nestedRoot, 0);
      const table = memory.loadWord(area + VcpuCell.guestTable);
      memory.storeWord(area + VcpuCell.guestTable, 0);
      if (table !== 0) pages.putReference(mfn(table));
    }
    tables.destroy();
    logDirty.vram.stopTracking();
    logDirty.discard();
    const lent = domain.read(DomainCell.p2mPages);
    if (lent !== 0) leaks.push(`${String(lent)} pages of the pool are lent for tables that are no more`);
    const total = domain.read(DomainCell.poolTotal);
    const free = domain.read(DomainCell.poolFree);
    if (total !== free) leaks.push(`the pool has ${String(total)} pages but ${String(free)} are free`);
    pool.empty();
  }

  initVcpu(): void {
    this.hap.modes.init();
  }

  teardownVcpu(): void {
    this.hap.modes.teardown();
  }

  /** The entry goes before the flush: no walk after it finds the old frame again. */
  beginP2mWrite(gfn: number, oldFrame: number): void {
    const { lock, counters, domain, tables, vcpu } = this.hap;
    lock.acquire(LockSite.p2m_write);
    counters.add(Counter.p2m_writes);
    if (oldFrame === NO_MFN || domain.read(DomainCell.tornDown) !== 0) return;
    tables.unmap(gfn);
    vcpu.mailbox.flushAll();
  }

  /** Hardware has flushed since the entry went from its tables, and the hypervisor walks under the lock only. */
  awaitP2mReaders(): void {
    // Nobody reads the p2m itself without the lock.
  }

  /** What was not mapped is in no TLB, so what is mapped now needs no flush. */
  endP2mWrite(gfn: number): void {
    const { lock, domain, tables } = this.hap;
    if (domain.read(DomainCell.tornDown) === 0) tables.follow(gfn);
    lock.release();
  }

  setAllocation(pages: number): number {
    const { lock, pool, domain } = this.hap;
    lock.acquire(LockSite.set_allocation);
    const size = domain.isDead() ? pool.pagesInAll() : pool.setAllocation(pages);
    lock.release();
    return size;
  }

  allocation(): number {
    const { lock, pool } = this.hap;
    lock.acquire(LockSite.set_allocation);
    const size = pool.pagesInAll();
    lock.release();
    return size;
  }

  /** Every page is read-only until it is written to (Xen changes the type of all memory to log-dirty). */
  dropMappings(): void {
    this.hap.tables.protectFrom(0, this.hap.p2m.ramPages);
    this.hap.vcpu.mailbox.flushAll();
  }

  protectPart(position: number): number {
    const { tables, p2m, vcpu } = this.hap;
    const end = Math.min(position + PAGES_AT_ONCE, p2m.ramPages);
    tables.protectFrom(position, end);
    if (end < p2m.ramPages) return end;
    vcpu.mailbox.flushAll();
    return -1;
  }

  /** As Xen does it: pages of the frame buffer are read-only in the p2m's tables until they are written to. */
  beginVram(first: number, pages: number, milliseconds: number): void {
    const { logDirty, tables, vcpu } = this.hap;
    logDirty.vram.startTracking(first, pages, milliseconds);
    for (let gfn = first; gfn < first + pages; gfn++) tables.follow(gfn);
    vcpu.mailbox.flushAll();
  }

  /** Only what was written has to be protected again; nothing is scanned. */
  lookAtVram(bitmap: Int32Array): number {
    const { logDirty, tables, vcpu } = this.hap;
    const { vram } = logDirty;
    const count = vram.takeBits(bitmap);
    if (count === 0) return 0;
    for (let index = 0; index < vram.pageCount(); index++)
      if ((((bitmap[index >>> 5] ?? 0) >>> (index & 31)) & 1) !== 0) tables.follow(vram.firstPage() + index);
    vcpu.mailbox.flushAll();
    return count;
  }

  /** The lock keeps the page where it is until the word is stored. */
  deviceWrite(address: number, value: number): boolean {
    const { lock, p2m, memory, counters, logDirty } = this.hap;
    lock.acquire(LockSite.device_modified);
    const entry = p2m.entryOf(Math.floor(address / PAGE_BYTES));
    const frame = discardsWrites(entry) ? NO_MFN : ramInP2mEntry(entry);
    if (frame !== NO_MFN) {
      counters.add(Counter.device_writes);
      memory.storeWord((frame << 10) | ((address % PAGE_BYTES) >>> 2), value);
      logDirty.markFrame(frame);
    }
    lock.release();
    return frame !== NO_MFN;
  }

  readGuestWord(address: number): number {
    const { p2m, memory } = this.hap;
    const frame = p2m.frameOf(Math.floor(address / PAGE_BYTES));
    return frame === NO_MFN ? 0 : memory.loadWord((frame << 10) | ((address % PAGE_BYTES) >>> 2));
  }

  describeGuestWalk(low: number, high: number): string[] {
    const { guest } = this.hap;
    const passed = guest.observe(low, high, 0, true);
    return describeVisited(guest.observer, guest.register(VcpuCell.guestLevels), passed);
  }

  describeHardwareWalk(low: number, high: number): string[] {
    const { guest } = this.hap;
    guest.observe(low, high, 0, true);
    return describeNested(this.hap, guest.observer);
  }
}
