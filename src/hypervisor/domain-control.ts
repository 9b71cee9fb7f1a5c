/** What the toolstack can do to a domain: domctl, changes of the p2m, devices' writes, and the domain's end (spec 19). */
import { DomainCell } from "../memory/domain-area.ts";
import { GuestPages } from "./guest-pages.ts";
import { POISON, SHADOWED } from "../memory/frame-table.ts";
import { NO_MFN, mfn, vcpuId } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { Doorbell, VcpuCell, VcpuState, vcpuArea } from "../memory/vcpu-area.ts";
import { ring, wake } from "../memory/wait.ts";
import { LockSite } from "../locks/lock-class.ts";
import type { RecursiveLock } from "../locks/lock.ts";
import type { Finding } from "../machine/vcpu.ts";
import { DomainPause } from "./domain-pause.ts";
import { LogDirtyControl } from "./log-dirty-control.ts";
import { P2mControl } from "./p2m-control.ts";
import { P2mType, frameInP2mEntry, ramInP2mEntry, typeInP2mEntry } from "./p2m-type.ts";
import { VramControl } from "./vram-control.ts";
import type { PagingInterface } from "./paging-interface.ts";
import type { PagingBase } from "./paging-base.ts";
import { shadowOf } from "./shadow/shadow-paging.ts";
import type { Shadow } from "./shadow/shadow.ts";

/** The toolstack's view of the domain. Its calls may be made while vCPUs run, from one thread. */
export class DomainControl {
  /** What checks inside the model saw while the toolstack acted. */
  readonly findings: readonly Finding[];
  readonly base: PagingBase;
  readonly paging: PagingInterface;
  readonly p2mLock: RecursiveLock;
  /** Domctl of the log of dirty pages. */
  readonly dirty: LogDirtyControl;
  /** Domctl of the tracking of a frame buffer. */
  readonly vram: VramControl;
  /** Stops all vCPUs and lets them go. */
  readonly pause: DomainPause;
  /** Types of the guest's pages: read-only, populated on demand, paged out, … */
  readonly types: P2mControl;
  readonly #pages: GuestPages;

  constructor(base: PagingBase, paging: PagingInterface, p2mLock: RecursiveLock) {
    this.findings = base.vcpu.findings;
    this.base = base;
    this.paging = paging;
    this.p2mLock = p2mLock;
    this.#pages = new GuestPages(base);
    this.pause = new DomainPause(base.vcpu);
    this.types = new P2mControl(base, paging, p2mLock);
    const { vcpu, domain, lock, config } = base;
    const parts = { vcpu, domain, lock, paging, pause: this.pause, ramPages: config.ramPages };
    this.dirty = new LogDirtyControl(parts);
    this.vram = new VramControl(parts);
  }

  /** The toolstack's own parts of shadow mode, for variants of single ones. Throws in another mode. */
  get shadow(): Shadow {
    return shadowOf(this.paging);
  }

  /**
   * Copies the first words of a page, as many as `into` has room for from `at` on, up to `words`. False: no memory is
   * there. What vCPUs write meanwhile is in the copy or not.
   */
  readPage(gfn: number, into: Int32Array, at: number, words: number): boolean {
    const { p2m, memory } = this.base;
    this.p2mLock.acquire(LockSite.domctl);
    const entry = p2m.entryOf(gfn);
    // What the pager is about to take away is there for it to copy.
    const frame = typeInP2mEntry(entry) === P2mType.pagingOut ? frameInP2mEntry(entry) : ramInP2mEntry(entry);
    if (frame !== NO_MFN)
      for (let word = 0; word < words; word++) into[at + word] = memory.loadWord((frame << 10) | word);
    this.p2mLock.release();
    return frame !== NO_MFN;
  }

  /** Takes a page from the guest, of whatever type. A page in use as a root crashes the domain, as in Xen. */
  removePage(gfn: number): void {
    this.p2mLock.acquire(LockSite.p2m_write);
    const entry = this.base.p2m.entryOf(gfn);
    if (typeInP2mEntry(entry) !== P2mType.mmioDm) this.types.changes.takeFrame(gfn, entry, P2mType.mmioDm);
    this.p2mLock.release();
  }

  /**
   * Gives the guest a poisoned frame at a gfn below the end of its memory that has none. False: no frame is left, or the
   * domain is no more.
   */
  addPage(gfn: number): boolean {
    const { p2m } = this.base;
    this.p2mLock.acquire(LockSite.p2m_write);
    const entry = p2m.entryOf(gfn);
    const isFree = gfn >= 0 && gfn < p2m.ramPages && typeInP2mEntry(entry) === P2mType.mmioDm;
    const isAdded = isFree && this.types.changes.giveFilled(gfn, entry, P2mType.ramRw, POISON);
    this.p2mLock.release();
    return isAdded;
  }

  /** Moves a page to another frame, contents and all. False: no memory at the gfn, or no frame left. */
  movePage(gfn: number): boolean {
    this.p2mLock.acquire(LockSite.p2m_write);
    const entry = this.base.p2m.entryOf(gfn);
    const isMoved = ramInP2mEntry(entry) !== NO_MFN && this.types.changes.moveFrame(gfn, entry);
    this.p2mLock.release();
    return isMoved;
  }

  /** Sets the size of the shadow pool; returns the size it has then. */
  setAllocation(pages: number): number {
    return this.paging.setAllocation(pages);
  }

  /** Pages of the shadow pool. */
  allocation(): number {
    return this.paging.allocation();
  }

  /** Writes a word to guest memory as a device does. */
  deviceWrite(address: number, value: number): void {
    this.paging.deviceWrite(address, value);
  }

  /** The domain dies: every vCPU ends at its next exit or poll. Returns at once. */
  beginDestroy(): void {
    const { domain, memory, layout, config } = this.base;
    domain.beginDestroy();
    this.pause.letGo();
    // A vCPU that waits for a page looks up, and ends.
    const pageIns = layout.regions.domain.offset + DomainCell.pageIns;
    memory.addWord(pageIns, 1);
    wake(memory, pageIns);
    for (let id = 0; id < config.vcpus; id++) ring(memory, vcpuArea(layout, vcpuId(id)), Doorbell.stop);
  }

  /**
   * Takes the domain apart, once no vCPU runs: what the paging mode has of it, then guest memory. Returns a sentence for each thing
   * that is left over or miscounted; a second call does nothing.
   */
  teardown(): string[] {
    const { lock, domain, memory, layout, config } = this.base;
    const leaks: string[] = [];
    domain.beginDestroy();
    for (let id = 0; id < config.vcpus; id++) {
      const state = memory.loadWord(vcpuArea(layout, vcpuId(id)) + VcpuCell.state);
      if (state === VcpuState.running) return [`vCPU ${String(id)} still runs at the domain's teardown`];
    }
    this.p2mLock.acquire(LockSite.domain_teardown);
    lock.acquire(LockSite.domain_teardown);
    if (domain.read(DomainCell.tornDown) === 0) {
      domain.write(DomainCell.tornDown, 1);
      this.paging.teardownDomain(leaks);
      this.#freeGuestMemory(leaks);
      const free = this.base.heap.freeFrames();
      const all = layout.sizes.frames - 1;
      if (free !== all) leaks.push(`machine frames not free after the teardown: ${String(all - free)}`);
    }
    lock.release();
    this.p2mLock.release();
    return leaks;
  }

  #freeGuestMemory(leaks: string[]): void {
    const { p2m, domain } = this.base;
    for (let gfn = 0; gfn < p2m.ramPages; gfn++) {
      const frame = p2m.ownFrameOf(gfn);
      p2m.writeEntry(gfn, NO_MFN, P2mType.mmioDm);
      if (frame === NO_MFN) continue;
      this.#checkPage(frame, `gfn 0x${gfn.toString(16)}`, leaks);
      this.#pages.putReference(frame);
    }
    const identity = mfn(domain.read(DomainCell.unpagedTable));
    this.#checkPage(identity, "the identity table", leaks);
    domain.write(DomainCell.unpagedTable, 0);
    this.#pages.putReference(identity);
  }

  #checkPage(frame: Mfn, name: string, leaks: string[]): void {
    const { frames } = this.base;
    const count = frames.count(frame);
    const typecount = frames.typecount(frame);
    if (count !== 1) leaks.push(`${name} has ${String(count)} references where 1 is due`);
    if (typecount !== 0) leaks.push(`${name} has a typecount of ${String(typecount)} where 0 is due`);
    if ((frames.shadowFlags(frame) & SHADOWED) !== 0) leaks.push(`${name} is still marked as shadowed`);
  }
}
