/** What the toolstack can do to a domain: domctl, changes of the p2m, devices' writes, and the domain's end (spec 19). */
import { DomainCell } from "../memory/domain-area.ts";
import { GuestPages } from "./guest-pages.ts";
import { FrameUse, POISON, SHADOWED } from "../memory/frame-table.ts";
import { NO_MFN, PAGE_WORDS, mfn, vcpuId } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { Doorbell, VcpuCell, VcpuState, vcpuArea } from "../memory/vcpu-area.ts";
import { ring } from "../memory/wait.ts";
import { LockSite } from "../locks/lock-class.ts";
import type { RecursiveLock } from "../locks/lock.ts";
import type { Finding } from "../machine/vcpu.ts";
import { DomainPause } from "./domain-pause.ts";
import { LogDirtyControl } from "./log-dirty-control.ts";
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
  readonly #pages: GuestPages;

  constructor(base: PagingBase, paging: PagingInterface, p2mLock: RecursiveLock) {
    this.findings = base.vcpu.findings;
    this.base = base;
    this.paging = paging;
    this.p2mLock = p2mLock;
    this.#pages = new GuestPages(base);
    this.pause = new DomainPause(base.vcpu);
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
    const frame = p2m.frameOf(gfn);
    if (frame !== NO_MFN)
      for (let word = 0; word < words; word++) into[at + word] = memory.loadWord((frame << 10) | word);
    this.p2mLock.release();
    return frame !== NO_MFN;
  }

  /** Takes a page from the guest. A page in use as a root crashes the domain, as in Xen. */
  removePage(gfn: number): void {
    this.p2mLock.acquire(LockSite.p2m_write);
    const old = this.base.p2m.frameOf(gfn);
    if (old !== NO_MFN) {
      this.paging.beginP2mWrite(gfn, old);
      this.base.p2m.writeEntry(gfn, NO_MFN);
      this.base.frames.setBack(old, -1);
      this.#pages.putReference(old);
      this.paging.logDirty.markPage(gfn);
      this.paging.endP2mWrite(gfn);
    }
    this.p2mLock.release();
  }

  /**
   * Gives the guest a poisoned frame at a gfn below the end of its memory that has none. False: no frame is left, or the
   * domain is no more.
   */
  addPage(gfn: number): boolean {
    const { p2m, heap, frames, memory } = this.base;
    this.p2mLock.acquire(LockSite.p2m_write);
    let added = false;
    if (this.base.domain.read(DomainCell.tornDown) !== 0) {
      this.p2mLock.release();
      return false;
    }
    if (gfn >= 0 && gfn < p2m.ramPages && p2m.frameOf(gfn) === NO_MFN) {
      this.paging.beginP2mWrite(gfn, NO_MFN);
      const frame = heap.allocate(FrameUse.guest);
      if (frame !== NO_MFN) {
        memory.fillWords(frame * PAGE_WORDS, PAGE_WORDS, POISON);
        frames.setCount(frame, 1);
        frames.setTypecount(frame, 0);
        frames.setShadowFlags(frame, 0);
        frames.setBack(frame, gfn);
        p2m.writeEntry(gfn, frame);
        this.paging.logDirty.markPage(gfn);
        added = true;
      }
      this.paging.endP2mWrite(gfn);
    }
    this.p2mLock.release();
    return added;
  }

  /** Moves a page to another frame, contents and all. False: no memory at the gfn, or no frame left. */
  movePage(gfn: number): boolean {
    const { p2m, heap, frames, memory } = this.base;
    this.p2mLock.acquire(LockSite.p2m_write);
    const old = p2m.frameOf(gfn);
    let moved = false;
    if (old !== NO_MFN) {
      // After this no mapping of the old frame is left in any table or TLB, so its contents stand still.
      this.paging.beginP2mWrite(gfn, old);
      const frame = heap.allocate(FrameUse.guest);
      if (frame !== NO_MFN) {
        for (let word = 0; word < PAGE_WORDS; word++)
          memory.storeWord((frame << 10) | word, memory.loadWord((old << 10) | word));
        frames.setCount(frame, 1);
        frames.setTypecount(frame, 0);
        frames.setShadowFlags(frame, 0);
        frames.setBack(frame, gfn);
        p2m.writeEntry(gfn, frame);
        frames.setBack(old, -1);
        this.#pages.putReference(old);
        moved = true;
      }
      this.paging.endP2mWrite(gfn);
    }
    this.p2mLock.release();
    return moved;
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
      const frame = p2m.frameOf(gfn);
      if (frame === NO_MFN) continue;
      this.#checkPage(frame, `gfn 0x${gfn.toString(16)}`, leaks);
      p2m.writeEntry(gfn, NO_MFN);
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
