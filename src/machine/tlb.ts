/**
 * A set-associative TLB, tagged with nothing but the page: it really is stale until somebody flushes it.
 *
 * It lies in the machine's memory, so that an audit can look into it while its vCPU is parked; its own vCPU accesses it
 * plainly. An entry is four words: low 32 bits of the page number, flags with the other four bits, frame, unused.
 */
import { TLB_ENTRY_WORDS } from "../memory/layout.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { mfn } from "../memory/units.ts";
import type { Mfn, VcpuId } from "../memory/units.ts";

/**
 * Flags of a TLB entry. The rights have the values of the pagetable's own bits; `large` marks a part of a large page of
 * the guest's, which only nested paging sees.
 */
export const TlbFlag = { valid: 1, writable: 2, user: 4, executable: 16, large: 32, dirty: 64 } as const;

const VALID = 1;
const LARGE = 32;
const FLAGS = 0xff;
/** Page number bits within the largest page that a TLB entry can be a part of: 4 MiB. */
const LARGEST_PAGE_BITS = 10;
const TAG_HIGH_SHIFT = 8;

/** One vCPU's TLB. Linear addresses come as two int32 halves. */
export class Tlb {
  readonly #words: Int32Array;
  readonly #setMask: number;
  readonly #ways: number;
  readonly #setWords: number;
  #nextVictim = 0;

  constructor(memory: SharedMemory, layout: Layout, vcpu: VcpuId) {
    const { tlbSets, tlbWays } = layout.sizes;
    this.#ways = tlbWays;
    this.#setWords = tlbWays * TLB_ENTRY_WORDS;
    const words = tlbSets * this.#setWords;
    this.#words = memory.privateWords(layout.regions.tlbs.offset + vcpu * words, words);
    this.#setMask = tlbSets - 1;
  }

  /** The place of the entry that maps an address, or -1. */
  find(low: number, high: number): number {
    const tagLow = (low >>> 12) | (high << 20);
    const tagHigh = (high >>> 12) & 0xf;
    let entry = (tagLow & this.#setMask) * this.#setWords;
    for (let way = 0; way < this.#ways; way++, entry += TLB_ENTRY_WORDS) {
      if ((this.#words[entry] ?? 0) !== tagLow) continue;
      const flags = this.#words[entry + 1] ?? 0;
      if ((flags & VALID) !== 0 && flags >>> TAG_HIGH_SHIFT === tagHigh) return entry;
    }
    return -1;
  }

  /** `TlbFlag` bits of the entry at a place that `find` returned. */
  flags(entry: number): number {
    return (this.#words[entry + 1] ?? 0) & FLAGS;
  }

  /** The frame that the entry at a place maps. */
  frame(entry: number): Mfn {
    return mfn(this.#words[entry + 2] ?? 0);
  }

  /** Caches a translation, over the page's old entry if there is one. `flags` are `TlbFlag` bits. */
  insert(low: number, high: number, frame: number, flags: number): void {
    const tagLow = (low >>> 12) | (high << 20);
    let entry = this.find(low, high);
    if (entry < 0) entry = this.#victim(tagLow);
    this.#words[entry] = tagLow;
    this.#words[entry + 1] = (flags & FLAGS) | VALID | (((high >>> 12) & 0xf) << TAG_HIGH_SHIFT);
    this.#words[entry + 2] = frame;
  }

  /** Forgets one page (INVLPG, and the faulting page of a #PF: SDM vol. 3, 4.10.4.1). */
  drop(low: number, high: number): void {
    const entry = this.find(low, high);
    if (entry >= 0) this.#words[entry + 1] = 0;
  }

  /** Forgets one page, and if it may be a part of a large one the other parts too (SDM vol. 3, 4.10.4.1). */
  dropMapping(low: number, high: number): void {
    this.drop(low, high);
    const region = ((low >>> 12) | (high << 20)) >>> LARGEST_PAGE_BITS;
    const tagHigh = (high >>> 12) & 0xf;
    for (let entry = 0; entry < this.#words.length; entry += TLB_ENTRY_WORDS) {
      const flags = this.#words[entry + 1] ?? 0;
      if ((flags & LARGE) === 0 || flags >>> TAG_HIGH_SHIFT !== tagHigh) continue;
      if ((this.#words[entry] ?? 0) >>> LARGEST_PAGE_BITS === region) this.#words[entry + 1] = 0;
    }
  }

  /** Forgets everything. */
  flush(): void {
    this.#words.fill(0);
  }

  /** Calls back for every valid entry: page number low and high bits, frame, flags. For audits of a parked vCPU. */
  forEach(visit: (tagLow: number, tagHigh: number, frame: Mfn, flags: number) => void): void {
    for (let entry = 0; entry < this.#words.length; entry += TLB_ENTRY_WORDS) {
      const flags = this.#words[entry + 1] ?? 0;
      if ((flags & VALID) === 0) continue;
      visit(this.#words[entry] ?? 0, flags >>> TAG_HIGH_SHIFT, this.frame(entry), flags & FLAGS);
    }
  }

  /** A free way of the set, else one in turn: replacement must not depend on anything that does not replay. */
  #victim(tagLow: number): number {
    const set = (tagLow & this.#setMask) * this.#setWords;
    for (let way = 0; way < this.#ways; way++) {
      const entry = set + way * TLB_ENTRY_WORDS;
      if (((this.#words[entry + 1] ?? 0) & VALID) === 0) return entry;
    }
    this.#nextVictim = (this.#nextVictim + 1) % this.#ways;
    return set + this.#nextVictim * TLB_ENTRY_WORDS;
  }
}
