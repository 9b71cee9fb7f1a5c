/**
 * Changes of single entries of the p2m, whoever makes them: the toolstack, or a vCPU that needs a page which is not there.
 * Each is one hold of the paging lock, between the hooks by which the paging mode follows (spec 12.1 to 12.3).
 */
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse } from "../memory/frame-table.ts";
import { NO_MFN, PAGE_WORDS } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { wake } from "../memory/wait.ts";
import { GuestPages } from "./guest-pages.ts";
import { P2mType, frameInP2mEntry, mappedInP2mEntry, typeInP2mEntry } from "./p2m-type.ts";
import type { PagingBase } from "./paging-base.ts";
import type { PagingInterface } from "./paging-interface.ts";

/** Words to fill a page with: those of `words` from `at` on, as many as `count`; the rest of the page is zero. */
export interface PageContents {
  readonly words: Int32Array;
  readonly at: number;
  readonly count: number;
}

/** Changes entries. Callers hold the p2m lock. */
export class P2mChanges {
  readonly #base: PagingBase;
  readonly #paging: PagingInterface;
  readonly #pages: GuestPages;

  constructor(base: PagingBase, paging: PagingInterface) {
    this.#base = base;
    this.#paging = paging;
    this.#pages = new GuestPages(base);
  }

  /** The page stays where it is and gets another type. */
  retype(gfn: number, entry: number, type: number): void {
    this.#paging.beginP2mWrite(gfn, mappedInP2mEntry(entry));
    this.#base.p2m.writeEntry(gfn, frameInP2mEntry(entry), type);
    if (mappedInP2mEntry(entry) !== NO_MFN) this.#paging.awaitP2mReaders();
    this.#paging.endP2mWrite(gfn);
    if (typeInP2mEntry(entry) === P2mType.pagingIn) this.#letWaitersLook();
  }

  /** The page loses its frame, if it has one. */
  takeFrame(gfn: number, entry: number, type: number): void {
    const { p2m, frames } = this.#base;
    const old = frameInP2mEntry(entry);
    this.#paging.beginP2mWrite(gfn, mappedInP2mEntry(entry));
    p2m.writeEntry(gfn, NO_MFN, type);
    if (old !== NO_MFN) {
      this.#paging.awaitP2mReaders();
      frames.setBack(old, -1);
      this.#pages.putReference(old);
    }
    this.#paging.logDirty.markPage(gfn);
    this.#paging.endP2mWrite(gfn);
    if (typeInP2mEntry(entry) === P2mType.pagingIn) this.#letWaitersLook();
  }

  /** The page, which has no frame, gets one that is filled with a word. False: none is left, or the domain is no more. */
  giveFilled(gfn: number, entry: number, type: number, fill: number): boolean {
    if (this.#isGone()) return false;
    this.#paging.beginP2mWrite(gfn, NO_MFN);
    const frame = this.#base.heap.allocate(type === P2mType.mmioDirect ? FrameUse.device : FrameUse.guest);
    if (frame !== NO_MFN) {
      this.#base.memory.fillWords(frame * PAGE_WORDS, PAGE_WORDS, fill);
      this.#own(gfn, frame, type);
      if (type !== P2mType.mmioDirect) this.#paging.logDirty.markPage(gfn);
    }
    this.#paging.endP2mWrite(gfn);
    if (typeInP2mEntry(entry) === P2mType.pagingIn) this.#letWaitersLook();
    return frame !== NO_MFN;
  }

  /** The same with contents that somebody has kept. */
  giveContents(gfn: number, entry: number, type: number, { words, at, count }: PageContents): boolean {
    if (this.#isGone()) return false;
    const { memory, heap } = this.#base;
    this.#paging.beginP2mWrite(gfn, NO_MFN);
    const frame = heap.allocate(FrameUse.guest);
    if (frame !== NO_MFN) {
      memory.fillWords(frame * PAGE_WORDS, PAGE_WORDS, 0);
      for (let word = 0; word < count; word++) memory.storeWord((frame << 10) | word, words[at + word] ?? 0);
      this.#own(gfn, frame, type);
      this.#paging.logDirty.markPage(gfn);
    }
    this.#paging.endP2mWrite(gfn);
    if (typeInP2mEntry(entry) === P2mType.pagingIn) this.#letWaitersLook();
    return frame !== NO_MFN;
  }

  /** Memory gets another frame, contents and all. False: none is left. */
  moveFrame(gfn: number, entry: number): boolean {
    const { memory, heap, frames } = this.#base;
    const old = frameInP2mEntry(entry);
    // After this no mapping of the old frame is left in any table or TLB, so its contents stand still.
    this.#paging.beginP2mWrite(gfn, old);
    const frame = heap.allocate(FrameUse.guest);
    if (frame !== NO_MFN) {
      for (let word = 0; word < PAGE_WORDS; word++)
        memory.storeWord((frame << 10) | word, memory.loadWord((old << 10) | word));
      this.#own(gfn, frame, typeInP2mEntry(entry));
      this.#paging.awaitP2mReaders();
      frames.setBack(old, -1);
      this.#pages.putReference(old);
    }
    this.#paging.endP2mWrite(gfn);
    return frame !== NO_MFN;
  }

  /** Frames of a device are none of the guest's: they have no gfn to be found by. */
  #own(gfn: number, frame: Mfn, type: number): void {
    const { p2m, frames } = this.#base;
    frames.setCount(frame, 1);
    frames.setTypecount(frame, 0);
    frames.setShadowFlags(frame, 0);
    frames.setBack(frame, type === P2mType.mmioDirect ? -1 : gfn);
    p2m.writeEntry(gfn, frame, type);
  }

  #isGone(): boolean {
    return this.#base.domain.read(DomainCell.tornDown) !== 0;
  }

  /** vCPUs that wait for a page look again whether it has come. */
  #letWaitersLook(): void {
    const { memory, layout } = this.#base;
    const cell = layout.regions.domain.offset + DomainCell.pageIns;
    memory.addWord(cell, 1);
    wake(memory, cell);
  }
}
