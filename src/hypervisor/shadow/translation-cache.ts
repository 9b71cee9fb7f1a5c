/**
 * The virt-to-phys translation cache of one vCPU (spec 10.5, Xen's vTLB): what the last successful walks of the guest's
 * tables answered, for the emulator and for MMIO, which would otherwise walk them once more. It is as stale as a TLB may
 * be: the guest's own flushes empty it, other vCPUs' changes do not.
 *
 * Xen lets an entry answer any access that needs no more rights than the one it came from. Here the privilege and the
 * register bits that decided are compared too: what user mode may do, SMAP can forbid the kernel, and what was allowed
 * while CR0.WP was clear is not once it is set.
 */
import type { Shadow } from "./shadow.ts";

const ENTRIES = 13;
const EMPTY = -1;
/** 2^20 modulo the number of entries: what bits 32 and up of an address count for in its page number. */
const HIGH_WEIGHT = 2 ** 20 % ENTRIES;
/** Error code bits of rights, and of privilege, which must be the same. */
const RIGHTS = 2 | 16;
const PRIVILEGE = 4 | (1 << 18);

/** Direct-mapped, by page number. Belongs to its vCPU's thread; nothing of it is shared. */
export class TranslationCache {
  readonly #shadow: Shadow;
  readonly #pageLow = new Int32Array(ENTRIES);
  readonly #pageHigh = new Int32Array(ENTRIES);
  readonly #gfn = new Int32Array(ENTRIES).fill(EMPTY);
  readonly #access = new Int32Array(ENTRIES);
  readonly #mode = new Int32Array(ENTRIES);

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** The gfn that an address led to when an access like it was last permitted; -1 when that is not known any more. */
  gfnOf(low: number, high: number, access: number): number {
    const { guest, vcpu } = this.#shadow;
    const index = indexOf(low, high);
    if (this.#pageLow[index] !== low >>> 12 || this.#pageHigh[index] !== high) return EMPTY;
    const had = this.#access[index] ?? 0;
    if ((access & RIGHTS & ~had) !== 0 || ((access ^ had) & PRIVILEGE) !== 0) return EMPTY;
    if (this.#mode[index] !== guest.mode(vcpu.alignmentCheck)) return EMPTY;
    return this.#gfn[index] ?? EMPTY;
  }

  /** Keeps what the walk in `guest.walker` answered for a permitted access, unless somebody kept it from setting A or D. */
  noteWalk(low: number, high: number, access: number): void {
    const { switches, guest, vcpu } = this.#shadow;
    if (!switches["translation-cache"] || guest.walker.lostLevels !== 0) return;
    const index = indexOf(low, high);
    this.#pageLow[index] = low >>> 12;
    this.#pageHigh[index] = high;
    this.#gfn[index] = guest.walker.frame;
    this.#access[index] = access;
    this.#mode[index] = guest.mode(vcpu.alignmentCheck);
  }

  /** The guest has got a page fault at an address, which drops what a TLB has of the page (SDM vol. 3, 4.10.4.1). */
  forgetPage(low: number, high: number): void {
    const index = indexOf(low, high);
    if (this.#pageLow[index] === low >>> 12 && this.#pageHigh[index] === high) this.#gfn[index] = EMPTY;
  }

  /** The guest has flushed its TLB, or a part of it. */
  forgetAll(): void {
    this.#gfn.fill(EMPTY);
  }
}

/** The page number modulo the number of entries. */
function indexOf(low: number, high: number): number {
  return ((low >>> 12) + HIGH_WEIGHT * (high & 0xffff)) % ENTRIES;
}
