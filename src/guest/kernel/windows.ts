/**
 * Temporary mappings: each vCPU has a few pages of address space of its own and points them at whatever page it wants to
 * see. All their entries are in one level 1 table, which all vCPUs therefore write.
 */
import { EntryFlag, entryHigh, entryLow } from "../../machine/entry.ts";
import type { Cpu } from "../cpu.ts";
import { WINDOWS_PER_CPU, linearEntry } from "./address-map.ts";
import type { EntryAccess } from "./entry-access.ts";
import type { KernelImage } from "./image.ts";
import { pagingFormat } from "./paging-format.ts";

const PAGE_BYTES = 4096;
const FLAGS = EntryFlag.present | EntryFlag.writable | EntryFlag.accessed | EntryFlag.dirty;

/** One vCPU's windows, and its view of pages by frame. */
export class Windows {
  readonly #cpu: Cpu;
  readonly #entries: EntryAccess;
  readonly #image: KernelImage;
  readonly #seesAll: boolean;
  readonly #first: number;
  readonly #entryBytes: number;
  readonly #frames = new Int32Array(WINDOWS_PER_CPU);

  constructor(cpu: Cpu, entries: EntryAccess, image: KernelImage) {
    this.#cpu = cpu;
    this.#entries = entries;
    this.#image = image;
    this.#seesAll = image.personality === "one-to-one";
    this.#first = cpu.id * WINDOWS_PER_CPU;
    this.#entryBytes = pagingFormat(image.format).entryBytes;
  }

  /** Where the kernel sees a page: in its map of all memory, or through a window of this vCPU, which then stays. */
  addressOf(frame: number, window: number): number {
    const { kernelBase } = this.#image.map;
    return this.#seesAll ? kernelBase + frame * PAGE_BYTES : this.mapWindow(window, frame);
  }

  /** Points a window at a page; its address. */
  mapWindow(window: number, frame: number): number {
    const address = this.#image.map.windows + (this.#first + window) * PAGE_BYTES;
    if (this.#frames[window] === frame) return address;
    this.#entries.writeEntry(this.#entryOf(window, address), entryLow(frame, FLAGS), entryHigh(frame));
    this.#cpu.invlpg(address);
    this.#frames[window] = frame;
    return address;
  }

  /** Takes a window's page away from it. */
  unmapWindow(window: number): void {
    if (this.#frames[window] === 0) return;
    const address = this.#image.map.windows + (this.#first + window) * PAGE_BYTES;
    this.#entries.writeEntry(this.#entryOf(window, address), 0, 0);
    this.#cpu.invlpg(address);
    this.#frames[window] = 0;
  }

  #entryOf(window: number, address: number): number {
    const { map, format, windowTable } = this.#image;
    if (map.linearMap !== 0) return linearEntry(format, map.linearMap, address, 1);
    return map.kernelBase + windowTable * PAGE_BYTES + (this.#first + window) * this.#entryBytes;
  }
}
