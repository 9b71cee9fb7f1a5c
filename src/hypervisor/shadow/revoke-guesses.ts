/** Where kernels map their own pagetables: the guesses that save revocation a scan (spec 6.3, in its order). */
import { Counter } from "../../memory/counters.ts";
import type { Mfn } from "../../memory/units.ts";
import { refersToFrame } from "./shadow-entry.ts";
import type { Shadow } from "./shadow.ts";

const WRITABLE = 2;
/** Frames below this are in the 896 MiB that 32-bit Linux maps one to one. */
const LOWMEM_FRAMES = 0x38000;

/** High halves of the bases at which 64-bit kernels map all memory, in the order in which they are tried. */
const DIRECT_MAPS = Int32Array.of(0xffff_8800, 0xffff_8100, 0x0000_0100, 0xffff_8880, 0xffff_fe00);
/** The same of FreeBSD, after its linear map. */
const FREEBSD_DIRECT_MAP = 0xffff_ff00 | 0;

/** Tries guesses. Callers hold the paging lock. */
export class Guesses {
  readonly #shadow: Shadow;
  #frame = 0;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** Tries every guess for a page; true when no writable mapping of it is left. */
  tryAll(frame: Mfn, level: number, low: number, high: number): boolean {
    this.#frame = frame;
    const gfn = this.#shadow.frames.back(frame);
    switch (this.#shadow.guest.format()) {
      case 2:
        return this.#twoLevel(gfn, level, low);
      case 3:
        return this.#pae(gfn, level, low);
      default:
        return this.#fourLevel(gfn, level, low, high);
    }
  }

  #twoLevel(gfn: number, level: number, low: number): boolean {
    if (level === 1 && this.#try((0xc000_0000 + (low >>> 10)) | 0, 0, Counter.writeable_h_1)) return true;
    if (this.#tryLowmem(gfn)) return true;
    return level === 1 && this.#try((0xbfc0_0000 + (low >>> 10)) | 0, 0, Counter.writeable_h_6);
  }

  #pae(gfn: number, level: number, low: number): boolean {
    if (level === 1 && this.#try((0xc000_0000 + (low >>> 9)) | 0, 0, Counter.writeable_h_2)) return true;
    if (level === 2 && this.#try((0xc060_0000 + (low >>> 18)) | 0, 0, Counter.writeable_h_2)) return true;
    if (this.#tryLowmem(gfn)) return true;
    if (level === 1) return this.#try((0xbf80_0000 + (low >>> 9)) | 0, 0, Counter.writeable_h_6);
    return level === 2 && this.#try((0xbfdf_c000 + (low >>> 18)) | 0, 0, Counter.writeable_h_6);
  }

  #fourLevel(gfn: number, level: number, low: number, high: number): boolean {
    if (this.#linear(0xffff_f680 | 0, 0x4000_0000, 0xfffff6fb, 0x7da0_0000, level, low, high)) return true;
    const gpaLow = gfn << 12;
    const gpaHigh = gfn >>> 20;
    for (let index = 0; index < DIRECT_MAPS.length; index++) {
      const base = DIRECT_MAPS[index] ?? 0;
      if (this.#try(gpaLow, base + gpaHigh, Counter.writeable_h_4)) return true;
    }
    if (this.#freeBsdLinear(level, low, high)) return true;
    return this.#try(gpaLow, FREEBSD_DIRECT_MAP + gpaHigh, Counter.writeable_h_6);
  }

  /** Windows x64: the recursive slot shows level 1 tables at the base, level 2 and 3 tables further in. */
  #linear(
    base1: number,
    low2: number,
    high23: number,
    low3: number,
    level: number,
    low: number,
    high: number,
  ): boolean {
    const va = high & 0xffff;
    const counter = Counter.writeable_h_3;
    if (level === 1) return this.#try((low >>> 9) | (va << 23), base1 + (va >>> 9), counter);
    if (level === 2) return this.#try(low2 | (low >>> 18) | (va << 14), high23 | 0, counter);
    return level === 3 && this.#try((low3 + ((low >>> 27) | (va << 5))) | 0, high23 | 0, counter);
  }

  #freeBsdLinear(level: number, low: number, high: number): boolean {
    const va = high & 0xffff;
    const counter = Counter.writeable_h_6;
    if (level === 1) return this.#try((low >>> 9) | (va << 23), (0xffff_8000 | 0) + (va >>> 9), counter);
    if (level === 2) return this.#try((low >>> 18) | (va << 14), 0xffff_8040 | 0, counter);
    return level === 3 && this.#try(0x2000_0000 + ((low >>> 27) | (va << 5)), 0xffff_8040 | 0, counter);
  }

  #tryLowmem(gfn: number): boolean {
    if (gfn >= LOWMEM_FRAMES) return false;
    return this.#try((0xc000_0000 + (gfn << 12)) | 0, 0, Counter.writeable_h_4);
  }

  /** One guess: if the current tree maps the page writable there, takes the right away. */
  #try(low: number, high: number, counter: number): boolean {
    const { tables, memory, entries, counters, frames } = this.#shadow;
    if (!tables.findLeaf(low, high)) return false;
    const entryLow = memory.loadEntry(tables.leafCell);
    const entryHigh = memory.high;
    if ((entryLow & WRITABLE) === 0 || !refersToFrame(entryLow, entryHigh)) return false;
    const frame = this.#shadow.frameIn(entryLow, entryHigh);
    if (frame !== this.#frame) return false;
    entries.setLeaf(tables.leafCell, entryLow & ~WRITABLE, entryHigh);
    counters.add(counter);
    return frames.typecount(frame) === 0;
  }
}
