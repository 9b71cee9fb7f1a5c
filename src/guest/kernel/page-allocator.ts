/**
 * The kernel's free pages. The list that all vCPUs share lies in guest memory under a lock; each vCPU keeps a few pages of
 * its own, last in first out, so that a page just freed is soon used for something else.
 *
 * Pages on the list are zero but for their slots (`SLOT_STRIDE`), and a page is made zero when it is taken. Tables are
 * given back zero and kept apart, as Linux's quicklists did. What is found to be not zero although nobody stored there is
 * a finding: somebody's store went astray.
 */
import type { Cpu } from "../cpu.ts";
import { Global, PAGE_SLOTS, SLOT_STRIDE } from "./image.ts";
import type { KernelImage } from "./image.ts";
import type { Waits } from "./wait.ts";

const OWN_MAX = 24;
const BATCH = 8;
const PAGE_BYTES = 4096;

/** One vCPU's access to free pages. */
export class PageAllocator {
  readonly #cpu: Cpu;
  readonly #waits: Waits;
  readonly #image: KernelImage;
  readonly #base: number;
  readonly #globals: number;
  readonly #own = new Int32Array(OWN_MAX);
  readonly #clear = new Int32Array(OWN_MAX);
  #ownCount = 0;
  #clearCount = 0;

  constructor(cpu: Cpu, waits: Waits, image: KernelImage) {
    this.#cpu = cpu;
    this.#waits = waits;
    this.#image = image;
    this.#base = image.map.kernelBase;
    this.#globals = image.map.kernelBase + image.globals;
  }

  /** A page with arbitrary contents in its slots; 0 when memory is exhausted. */
  takePage(): number {
    if (this.#ownCount === 0) this.#refill();
    if (this.#ownCount === 0) {
      if (this.#clearCount === 0) return 0;
      return this.#clear[--this.#clearCount] ?? 0;
    }
    return this.#own[--this.#ownCount] ?? 0;
  }

  /** Gives a page back. */
  givePage(frame: number): void {
    if (this.#ownCount === OWN_MAX) this.#drain(BATCH);
    this.#own[this.#ownCount++] = frame;
  }

  /** A page that is known to be zero, if there is one; 0 otherwise. */
  takeClearPage(): number {
    return this.#clearCount === 0 ? 0 : (this.#clear[--this.#clearCount] ?? 0);
  }

  /** Gives back a page that is zero. */
  giveClearPage(frame: number): void {
    if (this.#clearCount === OWN_MAX) this.givePage(frame);
    else this.#clear[this.#clearCount++] = frame;
  }

  /** Gives all pages of this vCPU back to the common list. */
  giveAll(): void {
    while (this.#clearCount > 0) this.givePage(this.#clear[--this.#clearCount] ?? 0);
    this.#drain(this.#ownCount);
  }

  /** Zeroes the slots of a page that appears at an address. A word beside them that is not zero is reported. */
  clearSlots(address: number, frame: number): void {
    const cpu = this.#cpu;
    for (let slot = 0; slot < PAGE_SLOTS; slot++) cpu.store64(address + slot * SLOT_STRIDE, 0, 0);
    const beside = 8 + 8 * cpu.random(SLOT_STRIDE / 8 - 1);
    const at = SLOT_STRIDE * cpu.random(PAGE_SLOTS) + beside;
    const low = cpu.load64(address + at);
    if (low !== 0 || cpu.valueHigh !== 0) {
      cpu.violation(
        "memory",
        `frame ${String(frame)} holds ${String(low)} at byte ${String(at)}, where nobody stores`,
      );
      this.clearWhole(address);
    }
  }

  /** Zeroes a whole page that appears at an address. */
  clearWhole(address: number): void {
    for (let at = 0; at < PAGE_BYTES; at += 8) this.#cpu.store64(address + at, 0, 0);
  }

  /** Address of the word that counts the mappings of a page. */
  countAddress(frame: number): number {
    return this.#base + this.#image.pageCount + 4 * frame;
  }

  /** Takes a batch from the common list, or from the pages that were never used. */
  #refill(): void {
    const cpu = this.#cpu;
    const globals = this.#globals;
    this.#waits.lockAt(globals + Global.pageLock);
    let head = cpu.load32(globals + Global.pageHead);
    for (let taken = 0; taken < BATCH && head !== 0; taken++) {
      this.#own[this.#ownCount++] = head;
      head = cpu.load32(this.#nextAddress(head));
    }
    cpu.store32(globals + Global.pageHead, head);
    if (this.#ownCount === 0) {
      const fresh = cpu.load32(globals + Global.pageFresh);
      const end = Math.min(cpu.load32(globals + Global.pageFreshEnd), fresh + BATCH);
      for (let frame = fresh; frame < end; frame++) this.#own[this.#ownCount++] = frame;
      cpu.store32(globals + Global.pageFresh, Math.max(fresh, end));
    }
    this.#waits.unlockAt(globals + Global.pageLock);
  }

  /** Gives pages to the common list. */
  #drain(count: number): void {
    const cpu = this.#cpu;
    const globals = this.#globals;
    if (count === 0) return;
    this.#waits.lockAt(globals + Global.pageLock);
    let head = cpu.load32(globals + Global.pageHead);
    // The oldest go: the youngest are the ones to be used again at once.
    for (let index = 0; index < count; index++) {
      const frame = this.#own[index] ?? 0;
      cpu.store32(this.#nextAddress(frame), head);
      head = frame;
    }
    cpu.store32(globals + Global.pageHead, head);
    this.#waits.unlockAt(globals + Global.pageLock);
    this.#own.copyWithin(0, count, this.#ownCount);
    this.#ownCount -= count;
  }

  #nextAddress(frame: number): number {
    return this.#base + this.#image.pageNext + 4 * frame;
  }
}
