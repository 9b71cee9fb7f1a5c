/** The pages of a domain in hap mode: the p2m's tables and the tree of dirty pages come from here. */
import { DomainCell } from "../../memory/domain-area.ts";
import { FrameUse } from "../../memory/frame-table.ts";
import { NO_MFN, PAGE_WORDS, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { ShadowType } from "../shadow/shadow-type.ts";
import type { NodePages } from "../dirty-tree.ts";
import type { Hap } from "./hap.ts";

/** Takes, lends and gives back pages. Callers hold the paging lock. */
export class HapPool implements NodePages {
  readonly #hap: Hap;

  constructor(hap: Hap) {
    this.#hap = hap;
  }

  /** Pages of the pool, those lent to the p2m included. */
  pagesInAll(): number {
    const { domain } = this.#hap;
    return domain.read(DomainCell.poolTotal) + domain.read(DomainCell.p2mPages);
  }

  /** Grows or shrinks the pool to `pages`, though never below what is lent. Returns the size it has then. */
  setAllocation(pages: number): number {
    const { domain, frames, heap, config } = this.#hap;
    const wanted = Math.min(pages, config.poolPagesMax);
    while (this.pagesInAll() < wanted) {
      const page = heap.allocate(FrameUse.pool);
      if (page === NO_MFN) break;
      frames.setType(page, ShadowType.none);
      this.#append(page);
      domain.increase(DomainCell.poolTotal, 1);
    }
    while (this.pagesInAll() > wanted && domain.read(DomainCell.poolFree) > 0) this.#giveBackOne();
    return this.pagesInAll();
  }

  canLend(pages: number): boolean {
    return this.#hap.domain.read(DomainCell.poolFree) >= pages;
  }

  /** A page for the tree of dirty pages, zeroed; 0 when there is none left. */
  lendPage(): Mfn {
    return this.lend(ShadowType.dirty_tree);
  }

  /** A page of a type, zeroed; 0 when there is none left. */
  lend(type: number): Mfn {
    const { domain, frames, memory } = this.#hap;
    if (domain.read(DomainCell.poolFree) === 0) return mfn(0);
    const page = this.#take();
    memory.fillWords(page * PAGE_WORDS, PAGE_WORDS, 0);
    frames.setType(page, type);
    domain.increase(DomainCell.poolTotal, -1);
    domain.increase(DomainCell.p2mPages, 1);
    return page;
  }

  /** A page comes back. Hardware walks it no more. */
  takeBack(page: Mfn): void {
    const { domain, frames } = this.#hap;
    frames.setType(page, ShadowType.none);
    frames.setGeneration(page, frames.generation(page) + 1);
    this.#append(page);
    domain.increase(DomainCell.p2mPages, -1);
    domain.increase(DomainCell.poolTotal, 1);
  }

  /** Gives every free page back to the machine. */
  empty(): void {
    while (this.#hap.domain.read(DomainCell.poolFree) > 0) this.#giveBackOne();
  }

  #giveBackOne(): void {
    const { domain, heap } = this.#hap;
    heap.free(this.#take());
    domain.increase(DomainCell.poolTotal, -1);
  }

  #take(): Mfn {
    const { domain, frames } = this.#hap;
    const page = mfn(domain.read(DomainCell.poolHead));
    const following = frames.nextFrame(page);
    domain.write(DomainCell.poolHead, following);
    if (following === 0) domain.write(DomainCell.poolTail, 0);
    domain.increase(DomainCell.poolFree, -1);
    frames.setNextFrame(page, 0);
    return page;
  }

  #append(page: Mfn): void {
    const { domain, frames } = this.#hap;
    const tail = domain.read(DomainCell.poolTail);
    frames.setNextFrame(page, 0);
    if (tail === 0) domain.write(DomainCell.poolHead, page);
    else frames.setNextFrame(mfn(tail), page);
    domain.write(DomainCell.poolTail, page);
    domain.increase(DomainCell.poolFree, 1);
  }
}
