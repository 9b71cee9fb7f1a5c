/**
 * The shadow pool: a fixed number of pages from which all shadows are made (spec 3.6 to 3.9). When it runs short, old
 * roots are given up first, then the trees that vCPUs run on are cut.
 */
import { Counter } from "../../memory/counters.ts";
import { CrashReason, DomainCell } from "../../memory/domain-area.ts";
import { FrameUse } from "../../memory/frame-table.ts";
import { NO_MFN, PAGE_WORDS, mfn, vcpuId } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { DIRTY_TREE_LEVELS } from "../dirty-tree.ts";
import { isLeafType, pagesOfType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const HEAD = 2;
const ROOTS = 4;
/** How many shadow levels deep one instruction's tables can be, for the pool's smallest size (spec 3.6). */
const ACCEPTABLE_PAGES_PER_VCPU = 128;

/** Allocates and frees shadow pages. Callers hold the paging lock. */
export class Pool {
  readonly #shadow: Shadow;
  readonly #reuseLast: boolean;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
    this.#reuseLast = shadow.config.reuse === "last-in-first-out";
  }

  /**
   * Makes sure that `count` shadows of a type can be allocated. It may destroy any shadow, those of a walk in progress
   * too, so nothing derived from shadows may be held across it. False means that the domain is dead.
   */
  prealloc(type: number, count: number): boolean {
    const { domain } = this.#shadow;
    if (domain.isDead()) return false;
    const pages = count * pagesOfType(type) + this.reserveBeside(type);
    if (domain.read(DomainCell.poolFree) >= pages) return true;
    if (this.#recyclePinned(pages) || this.#unhookRoots(pages)) return true;
    domain.crash(CrashReason.poolExhausted, 0);
    return false;
  }

  /**
   * Pages that making shadows of a type can need beside them: whoever maps a page marks it dirty, and that takes pages
   * of the tree from the same pool. Were they not reserved, taking them could destroy what is being built (XSA-427).
   */
  reserveBeside(type: number): number {
    return isLeafType(type) && this.#shadow.logDirty.isOn() ? DIRTY_TREE_LEVELS : 0;
  }

  /** One shadow of `pages` pages, zeroed, for the frame `back`. `prealloc` has made sure that it succeeds. */
  alloc(type: number, pages: number, back: number): Mfn {
    const { frames, counters } = this.#shadow;
    counters.add(Counter.alloc);
    let following = mfn(0);
    for (let left = pages; left > 0; left--) {
      const page = this.#take();
      frames.setType(page, type);
      frames.setState(page, 0);
      frames.setCount(page, 0);
      frames.setBack(page, back);
      frames.setHashNext(page, 0);
      frames.setUp(page, 0);
      frames.setNextFrame(page, 0);
      frames.setPreviousFrame(page, 0);
      frames.setSibling(page, following);
      following = page;
    }
    frames.setState(following, HEAD);
    return following;
  }

  /** Gives the pages of a shadow back. Their contents stay until they are used again (spec 3.9). */
  free(head: Mfn): void {
    const { frames, counters, switches, fastEmulate } = this.#shadow;
    counters.add(Counter.free);
    fastEmulate.forgetEverywhere();
    let page = head;
    while (page !== 0) {
      const following = frames.sibling(page);
      this.#forgetLastWritable(page);
      frames.setType(page, 0);
      frames.setState(page, 0);
      frames.setSibling(page, 0);
      frames.setUp(page, 0);
      frames.setTimestamp(page, this.#shadow.vcpu.mailbox.time());
      frames.setGeneration(page, frames.generation(page) + 1);
      this.#append(page);
      page = following;
    }
    if (!switches["deferred-flush"]) this.#shadow.flushAll();
  }

  /** Fewest pages the pool may have while shadow mode is on, those lent included. */
  minimum(): number {
    const { ramPages } = this.#shadow.config;
    const lent = this.#shadow.domain.read(DomainCell.p2mPages);
    return this.leastTotal() + Math.max(lent, ramPages >>> 8, 6) + 1;
  }

  /** Fewest pages that may be left when some are lent. */
  leastTotal(): number {
    return ACCEPTABLE_PAGES_PER_VCPU * this.#shadow.config.vcpus;
  }

  /** Grows or shrinks the pool to `pages`, at least the minimum. Returns the size it has then, pages lent included. */
  setAllocation(pages: number): number {
    const { domain, frames, heap, config } = this.#shadow;
    const lent = domain.read(DomainCell.p2mPages);
    const wanted = Math.min(Math.max(pages, this.minimum()), config.poolPagesMax) - lent;
    while (domain.read(DomainCell.poolTotal) < wanted) {
      const page = heap.allocate(FrameUse.pool);
      if (page === NO_MFN) break;
      frames.setType(page, 0);
      frames.setState(page, 0);
      frames.setCount(page, 0);
      frames.setTimestamp(page, 0);
      this.#append(page);
      domain.increase(DomainCell.poolTotal, 1);
    }
    while (domain.read(DomainCell.poolTotal) > wanted) if (!this.giveBackOne()) break;
    return domain.read(DomainCell.poolTotal) + lent;
  }

  /** Gives one page back to the heap; false when the domain died in the attempt. */
  giveBackOne(): boolean {
    const { domain, heap } = this.#shadow;
    if (domain.read(DomainCell.poolFree) === 0 && !this.prealloc(0, 1)) return false;
    heap.free(this.#take());
    domain.increase(DomainCell.poolTotal, -1);
    return true;
  }

  /** Stage one: unpin roots, least recently loaded first. Roots that some vCPU runs on lose only the pin. */
  #recyclePinned(pages: number): boolean {
    const { domain, frames, counters, references } = this.#shadow;
    if (domain.read(DomainCell.pinnedTail) === 0) return false;
    counters.add(Counter.prealloc_1);
    let victim = mfn(domain.read(DomainCell.pinnedTail));
    while (victim !== 0) {
      const next = frames.previousFrame(victim);
      references.unpin(victim);
      if (domain.read(DomainCell.poolFree) >= pages) return true;
      victim = next;
    }
    return false;
  }

  /**
   * Stage two: cut the trees that vCPUs run on. A root can be shared by several vCPUs, so all are flushed. Xen begins with
   * the same root each time; here each cut begins behind the last. Else an operation that needs two faults has the first
   * undone by the second, for ever, while another tree holds all the pages.
   */
  #unhookRoots(pages: number): boolean {
    const { domain, memory, layout, counters, unshadow, config } = this.#shadow;
    counters.add(Counter.prealloc_2);
    const slots = config.vcpus * ROOTS;
    const first = domain.read(DomainCell.nextVictim);
    for (let step = 0; step < slots; step++) {
      const victim = (first + step) % slots;
      const area = vcpuArea(layout, vcpuId(Math.floor(victim / ROOTS)));
      const root = memory.loadGuarded(area + VcpuCell.roots + (victim % ROOTS));
      if (root === 0) continue;
      unshadow.unhook(mfn(root));
      if (domain.read(DomainCell.poolFree) < pages) continue;
      domain.write(DomainCell.nextVictim, (victim + 1) % slots);
      this.#shadow.flushAll();
      return true;
    }
    this.#shadow.flushAll();
    return false;
  }

  /** The first free page, zeroed. Who may still hold translations through it is flushed before (spec 3.8). */
  #take(): Mfn {
    const { domain, frames, memory, counters, vcpu } = this.#shadow;
    const page = mfn(domain.read(DomainCell.poolHead));
    if (page === 0) throw new Error("the shadow pool is empty although pages were preallocated");
    const next = frames.nextFrame(page);
    domain.write(DomainCell.poolHead, next);
    if (next === 0) domain.write(DomainCell.poolTail, 0);
    domain.increase(DomainCell.poolFree, -1);
    if (vcpu.mailbox.flushWhere(frames.timestamp(page), true) > 0) counters.add(Counter.alloc_tlbflush);
    memory.fillWords(page * PAGE_WORDS, PAGE_WORDS, 0);
    return page;
  }

  #append(page: Mfn): void {
    const { domain, frames } = this.#shadow;
    const tail = domain.read(DomainCell.poolTail);
    if (tail === 0 || this.#reuseLast) {
      frames.setNextFrame(page, domain.read(DomainCell.poolHead));
      domain.write(DomainCell.poolHead, page);
      if (tail === 0) domain.write(DomainCell.poolTail, page);
    } else {
      frames.setNextFrame(mfn(tail), page);
      frames.setNextFrame(page, 0);
      domain.write(DomainCell.poolTail, page);
    }
    domain.increase(DomainCell.poolFree, 1);
  }

  /** Every vCPU forgets a page that it would search for writable mappings (spec 20.63). */
  #forgetLastWritable(page: Mfn): void {
    const { memory, layout, config } = this.#shadow;
    for (let id = 0; id <= config.vcpus; id++) {
      const cell = vcpuArea(layout, vcpuId(id)) + VcpuCell.lastWritableShadow;
      if (memory.loadGuarded(cell) === page) memory.storeGuarded(cell, 0);
    }
  }
}
