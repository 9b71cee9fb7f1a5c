/**
 * The boot loader: lays out guest memory before any vCPU runs. The kernel goes to the bottom, from frame 1 on; pages that
 * a scenario asks for come from the top; what is left between is the kernel's to give out.
 */
import { BootTables } from "./boot-tables.ts";
import { Global } from "./kernel/image.ts";
import type { KernelImage } from "./kernel/image.ts";
import { buildKernel } from "./kernel-builder.ts";
import type { KernelWish } from "./kernel-builder.ts";
import type { GuestRam } from "./ports.ts";
import type { GuestFormat } from "./scenario.ts";

/** What an engine makes a `Loader` of. */
export interface LoaderSetup {
  readonly ram: GuestRam;
  readonly format: GuestFormat;
  readonly vcpus: number;
}

/** Frames behind the end of memory that are left alone: a large page over the end reaches into them. */
const DEVICE_GAP = 1024;
const PAGE_BYTES = 4096;

/** Sets up guest memory for `boot`. */
export class Loader {
  readonly format: GuestFormat;
  readonly vcpus: number;
  readonly ram: GuestRam;
  #bottom = 1;
  #top: number;
  #kernel: KernelImage | null = null;

  constructor({ ram, format, vcpus }: LoaderSetup) {
    this.ram = ram;
    this.format = format;
    this.vcpus = vcpus;
    this.#top = ram.pages;
  }

  /** A page of memory, all zero; its frame. Throws RangeError when none is left. */
  page(): number {
    return this.consecutivePages(1);
  }

  /** Consecutive pages, the first at a multiple of `alignment` pages; the first frame. */
  consecutivePages(count: number, alignment = 1): number {
    if (!Number.isInteger(count) || count < 1)
      throw new RangeError(`${String(count)} pages cannot be set aside`);
    const first = Math.floor((this.#top - count) / alignment) * alignment;
    if (first < this.#bottom) throw this.#outOfMemory(count);
    this.#top = first;
    if (this.#kernel !== null) this.ram.writeWord(this.#kernel.globals + Global.pageFreshEnd, first);
    return first;
  }

  /** A list of pages for each vCPU: what programs without a kernel live on. */
  pools(pagesEach: number): readonly (readonly number[])[] {
    const pools: number[][] = [];
    for (let vcpu = 0; vcpu < this.vcpus; vcpu++) {
      const pool: number[] = [];
      for (let count = 0; count < pagesEach; count++) pool.push(this.page());
      pools.push(pool);
    }
    return pools;
  }

  /** A frame that is no memory: a device answers there. */
  deviceFrame(index: number): number {
    return this.ram.pages + DEVICE_GAP + index;
  }

  /** A builder of pagetables, of the guest's format or another. */
  tables(format: GuestFormat = this.format): BootTables {
    return new BootTables(this.ram, format, this);
  }

  /** Puts a kernel into memory. Once. */
  kernel(wish: KernelWish): KernelImage {
    if (this.#kernel !== null) throw new RangeError("a guest has one kernel");
    const image = buildKernel(this, wish);
    this.#kernel = image;
    this.ram.writeWord(image.globals + Global.pageFresh, this.#bottom);
    this.ram.writeWord(image.globals + Global.pageFreshEnd, this.#top);
    return image;
  }

  /** Consecutive pages at the bottom, for the kernel itself; the physical address of the first. */
  kernelPages(count: number): number {
    if (this.#bottom + count > this.#top) throw this.#outOfMemory(count);
    const first = this.#bottom;
    this.#bottom += count;
    return first * PAGE_BYTES;
  }

  #outOfMemory(count: number): RangeError {
    const free = this.#top - this.#bottom;
    return new RangeError(
      `guest memory of ${String(this.ram.pages)} pages is too small: ${String(count)} more wanted, ${String(free)} left`,
    );
  }
}
