/** The machine's free frames: guest memory and the shadow pool come from here. A leaf lock of its own guards it. */
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse, POISON } from "../memory/frame-table.ts";
import type { FrameTable } from "../memory/frame-table.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { NO_MFN, PAGE_WORDS, mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { LockSite } from "../locks/lock-class.ts";
import type { RecursiveLock } from "../locks/lock.ts";
import type { Domain } from "./domain.ts";
import type { ReuseOrder } from "./machine-config.ts";

/** Takes frames from the free list and gives them back. */
export class Heap {
  readonly #memory: SharedMemory;
  readonly #frames: FrameTable;
  readonly #domain: Domain;
  readonly #lock: RecursiveLock;
  readonly #reuseLast: boolean;

  constructor(
    memory: SharedMemory,
    frames: FrameTable,
    domain: Domain,
    lock: RecursiveLock,
    reuse: ReuseOrder,
  ) {
    this.#memory = memory;
    this.#frames = frames;
    this.#domain = domain;
    this.#lock = lock;
    this.#reuseLast = reuse === "last-in-first-out";
  }

  /** A free frame with its contents as they are, for `use`; NO_MFN when there is none. */
  allocate(use: number): Mfn {
    this.#lock.acquire(LockSite.heap_alloc);
    const head = this.#head();
    if (head !== 0) {
      const next = this.#frames.next(head);
      this.#domain.set(DomainCell.heapHead, next);
      if (next === 0) this.#domain.set(DomainCell.heapTail, 0);
      this.#domain.add(DomainCell.heapFree, -1);
      this.#frames.setNext(head, 0);
      this.#frames.setUse(head, use);
    }
    this.#lock.release();
    return head === 0 ? NO_MFN : head;
  }

  /** Gives a frame back, poisoned: whoever still reads or writes it is seen. */
  free(frame: Mfn): void {
    this.#lock.acquire(LockSite.heap_free);
    this.#memory.fillWords(frame * PAGE_WORDS, PAGE_WORDS, POISON);
    const frames = this.#frames;
    frames.setUse(frame, FrameUse.heap);
    frames.setGeneration(frame, frames.generation(frame) + 1);
    this.#append(frame);
    this.#lock.release();
  }

  /** Frames that are free now. */
  get freeFrames(): number {
    return this.#domain.get(DomainCell.heapFree);
  }

  #head(): Mfn {
    return mfn(this.#domain.get(DomainCell.heapHead));
  }

  #append(frame: Mfn): void {
    const domain = this.#domain;
    const tail = domain.get(DomainCell.heapTail);
    if (tail === 0) {
      domain.set(DomainCell.heapHead, frame);
      domain.set(DomainCell.heapTail, frame);
      this.#frames.setNext(frame, 0);
    } else if (this.#reuseLast) {
      this.#frames.setNext(frame, this.#head());
      domain.set(DomainCell.heapHead, frame);
    } else {
      this.#frames.setNext(mfn(tail), frame);
      this.#frames.setNext(frame, 0);
      domain.set(DomainCell.heapTail, frame);
    }
    domain.add(DomainCell.heapFree, 1);
  }
}
