/**
 * Flushes between the vCPUs of a guest. Who changed an entry writes down what is to be forgotten, sends an interrupt to
 * every vCPU that may hold a translation, and waits until each has answered or gone offline. Two may ask each other at
 * the same time: who waits takes interrupts.
 */
import type { Cpu } from "../cpu.ts";
import { CPU_BYTES, CpuWord, Global } from "./image.ts";
import type { KernelImage } from "./image.ts";
import type { Waits } from "./wait.ts";

/** The interrupt that asks for a flush. */
export const FLUSH_VECTOR = 1;

const PAGE_BYTES = 4096;
const TWO_32 = 2 ** 32;
/** More pages than this are flushed by a load of CR3, whatever the style. */
const PAGES_MAX = 16;

/** One vCPU's part in flushes. */
export class Shootdown {
  /** Physical address of the root that this vCPU runs on; whoever switches it keeps it up to date. */
  currentRoot = 0;
  readonly #cpu: Cpu;
  readonly #waits: Waits;
  readonly #isByReload: boolean;
  readonly #perCpu: number;
  readonly #own: number;
  readonly #online: number;

  constructor(cpu: Cpu, waits: Waits, image: KernelImage) {
    const { kernelBase } = image.map;
    this.#cpu = cpu;
    this.#waits = waits;
    this.#isByReload = image.flush === "reload";
    this.#perCpu = kernelBase + image.perCpu;
    this.#own = this.#wordsOf(cpu.id);
    this.#online = kernelBase + image.globals + Global.online;
    this.currentRoot = image.root;
  }

  /** From now on this vCPU answers. */
  goOnline(): void {
    this.#cpu.updateBits32(this.#online, 0, 1 << this.#cpu.id);
  }

  /** From now on nobody waits for this vCPU. What was asked of it is answered; it must not use translations any more. */
  goOffline(): void {
    const cpu = this.#cpu;
    cpu.updateBits32(this.#online, 1 << cpu.id, 0);
    this.answer();
    const others = cpu.load32(this.#online);
    for (let id = 0; id < cpu.vcpus; id++) {
      if (((others >>> id) & 1) !== 0) cpu.kick(id);
    }
  }

  /** Makes this vCPU forget the translations of some pages; 0 pages stand for everything. */
  flushOwn(address: number, pages: number): void {
    const cpu = this.#cpu;
    if (pages === 0 || pages > PAGES_MAX || this.#isByReload) {
      cpu.loadRoot(this.currentRoot);
      return;
    }
    for (let page = 0; page < pages; page++) cpu.invlpg(address + page * PAGE_BYTES);
  }

  /** Makes those vCPUs forget the translations of some pages, and returns when they have. */
  flushOthers(cpus: number, address: number, pages: number): void {
    const cpu = this.#cpu;
    const targets = cpus & ~(1 << cpu.id) & cpu.load32(this.#online);
    if (targets === 0) return;
    const own = this.#own;
    const page = Math.floor(address / PAGE_BYTES);
    cpu.store32(own + CpuWord.flushPageLow, page | 0);
    cpu.store32(own + CpuWord.flushPageHigh, Math.floor(page / TWO_32) | 0);
    cpu.store32(own + CpuWord.flushPages, pages);
    cpu.store32(own + CpuWord.flushDone, 0);
    for (let id = 0; id < cpu.vcpus; id++) {
      if (((targets >>> id) & 1) === 0) continue;
      cpu.updateBits32(this.#wordsOf(id) + CpuWord.flushAskedBy, 0, 1 << cpu.id);
      cpu.sendInterrupt(id, FLUSH_VECTOR);
    }
    for (;;) {
      const done = cpu.load32(own + CpuWord.flushDone);
      if ((targets & ~done & cpu.load32(this.#online)) === 0) return;
      this.#waits.waitWhileIs(own + CpuWord.flushDone, done);
    }
  }

  /** Does what other vCPUs have asked for. Called from the interrupt handler. */
  answer(): void {
    const cpu = this.#cpu;
    const askers = cpu.exchange32(this.#own + CpuWord.flushAskedBy, 0);
    for (let id = 0; id < cpu.vcpus; id++) {
      if (((askers >>> id) & 1) === 0) continue;
      const words = this.#wordsOf(id);
      const high = cpu.load32(words + CpuWord.flushPageHigh);
      const page = (cpu.load32(words + CpuWord.flushPageLow) >>> 0) + high * TWO_32;
      this.flushOwn(page * PAGE_BYTES, cpu.load32(words + CpuWord.flushPages));
      cpu.updateBits32(words + CpuWord.flushDone, 0, 1 << cpu.id);
      this.#waits.wakeAll(words + CpuWord.flushDone);
    }
  }

  #wordsOf(id: number): number {
    return this.#perCpu + CPU_BYTES * id;
  }
}
