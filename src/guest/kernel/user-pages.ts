/** The pages that user memory is made of: zeroed, copied and counted, and what entries for them grant. */
import { EntryFlag } from "../../machine/entry.ts";
import type { Cpu } from "../cpu.ts";
import { PAGE_SLOTS, SLOT_STRIDE } from "./image.ts";
import type { Area, KernelImage } from "./image.ts";
import type { PageAllocator } from "./page-allocator.ts";
import type { TableTools } from "./page-tables.ts";
import type { Windows } from "./windows.ts";

const PAGE_BYTES = 4096;
const { present: PRESENT, writable: WRITABLE, user: USER, accessed: ACCESSED, dirty: DIRTY } = EntryFlag;
const { cacheDisable: CACHE_DISABLE, noExecute: NO_EXECUTE } = EntryFlag;
const ZERO_WINDOW = 9;
const FROM_WINDOW = 10;
const TO_WINDOW = 11;

/** One vCPU's supply of user pages. */
export class UserPages {
  readonly #cpu: Cpu;
  readonly #image: KernelImage;
  readonly #pages: PageAllocator;
  readonly #windows: Windows;

  constructor({ cpu, image, pages, windows }: TableTools) {
    this.#cpu = cpu;
    this.#image = image;
    this.#pages = pages;
    this.#windows = windows;
  }

  /** The frame for a page that is touched for the first time in its space. */
  frameFor(area: Area, address: number): number {
    if (area.backing === "anonymous") return this.#zeroPage();
    return area.firstFrame + Math.floor((address - area.start) / PAGE_BYTES);
  }

  /** A page with what another holds. Nobody else has it. */
  copyOf(frame: number): number {
    const copy = this.#pages.takePage();
    if (copy === 0) this.outOfMemory();
    this.#copySlots(frame, copy);
    this.#cpu.store32(this.#pages.countAddress(copy), 1);
    return copy;
  }

  /** How many mappings share a page. */
  countOf(frame: number): number {
    return this.#cpu.load32(this.#pages.countAddress(frame));
  }

  /** One more mapping of a page. */
  sharePage(frame: number): void {
    this.#cpu.add32(this.#pages.countAddress(frame), 1);
  }

  /** One mapping less; a page without any is free. */
  dropPage(frame: number): void {
    const seen = this.#cpu.add32(this.#pages.countAddress(frame), -1);
    if (seen === 1) this.#pages.givePage(frame);
    else if (seen < 1) {
      this.#cpu.panic(
        "memory",
        `frame ${String(frame)} is unmapped once more than it was mapped: ${String(seen)}`,
      );
    }
  }

  /** Read faults may map a writable page without the right; A and D may be set in advance, or left to the walks. */
  leafFlags(area: Area, isWrite: boolean): number {
    let flags = PRESENT | USER;
    if (area.isWritable && (isWrite || this.#cpu.oneIn(2))) flags |= WRITABLE;
    if (this.#cpu.oneIn(2)) flags |= isWrite ? ACCESSED | DIRTY : ACCESSED;
    return area.backing === "device" ? flags | CACHE_DISABLE : flags;
  }

  /** The high half's bit that forbids execution, where the format has it and the area wants it. */
  executeBit(area: Area): number {
    return area.isExecutable || this.#image.format === "2level" ? 0 : NO_EXECUTE;
  }

  /** The guest is at its end. */
  outOfMemory(): never {
    return this.#cpu.panic(
      "guest",
      "the guest's kernel has no free page left: the scenario wants more memory",
    );
  }

  #zeroPage(): number {
    let frame = this.#pages.takeClearPage();
    if (frame === 0 || this.#cpu.oneIn(2)) {
      if (frame !== 0) this.#pages.giveClearPage(frame);
      frame = this.#pages.takePage();
      if (frame === 0) this.outOfMemory();
      this.#pages.clearSlots(this.#windows.addressOf(frame, ZERO_WINDOW), frame);
    }
    this.#cpu.store32(this.#pages.countAddress(frame), 1);
    return frame;
  }

  #copySlots(from: number, to: number): void {
    const cpu = this.#cpu;
    const source = this.#windows.addressOf(from, FROM_WINDOW);
    const target = this.#windows.addressOf(to, TO_WINDOW);
    for (let slot = 0; slot < PAGE_SLOTS; slot++) {
      const low = cpu.load64(source + slot * SLOT_STRIDE);
      cpu.store64(target + slot * SLOT_STRIDE, low, cpu.valueHigh);
    }
  }
}
