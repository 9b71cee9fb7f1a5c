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
      const next = this.#frames.nextFrame(head);
      this.#domain.write(DomainCell.heapHead, next);
      if (next === 0) this.#domain.write(DomainCell.heapTail, 0);
      this.#domain.increase(DomainCell.heapFree, -1);
      this.#frames.setNextFrame(head, 0);
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
  freeFrames(): number {
    this.#lock.acquire(LockSite.heap_free);
    const count = this.#domain.read(DomainCell.heapFree);
    this.#lock.release();
    return count;
  }

  #head(): Mfn {
    return mfn(this.#domain.read(DomainCell.heapHead));
  }

  #append(frame: Mfn): void {
    const domain = this.#domain;
    const tail = domain.read(DomainCell.heapTail);
    if (tail === 0) {
      domain.write(DomainCell.heapHead, frame);
      domain.write(DomainCell.heapTail, frame);
      this.#frames.setNextFrame(frame, 0);
    } else if (this.#reuseLast) {
      this.#frames.setNextFrame(frame, this.#head());
      domain.write(DomainCell.heapHead, frame);
    } else {
      this.#frames.setNextFrame(mfn(tail), frame);
      this.#frames.setNextFrame(frame, 0);
      domain.write(DomainCell.heapTail, frame);
    }
    domain.increase(DomainCell.heapFree, 1);
  }
}
