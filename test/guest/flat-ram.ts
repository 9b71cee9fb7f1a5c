/** Guest memory with nothing behind it: frame f lies at cell f * 1024, so hardware's own walker can look at it. */
import type { GuestRam } from "../../src/guest/ports.ts";
import type { GuestFormat } from "../../src/guest/scenario.ts";
import { Rights } from "../../src/machine/access-rights.ts";
import { AccessedPolicy, WalkFormat, WalkMode, Walker } from "../../src/machine/walker.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";

const FORMATS = { "2level": WalkFormat.twoLevel, pae: WalkFormat.pae, "4level": WalkFormat.fourLevel };
const MODE = WalkMode.wp | WalkMode.nxe | WalkMode.pse;

/** What an address translates to. */
export interface Translation {
  readonly frame: number;
  readonly rights: number;
  readonly pageShift: number;
}

/** Flat memory of so many pages. */
export class FlatRam implements GuestRam {
  readonly pages: number;
  readonly #memory: SharedMemory;

  constructor(pages: number) {
    this.pages = pages;
    this.#memory = SharedMemory.create(pages * 1024);
  }

  readWord(address: number): number {
    return this.#memory.loadWord(this.#cellOf(address));
  }

  writeWord(address: number, value: number): void {
    this.#memory.storeWord(this.#cellOf(address), value);
  }

  /** Translates an address as hardware would, by the root at a physical address; undefined when it faults. */
  translate(format: GuestFormat, root: number, address: number): Translation | undefined {
    const frames = {
      frameOf: (frame: number): number => (frame < this.pages ? frame : -1),
      refusesMark: () => false,
    };
    const walker = new Walker(this.#memory, frames, AccessedPolicy.none);
    const levels = FORMATS[format];
    if (levels === WalkFormat.pae) {
      for (let slot = 0; slot < 4; slot++) {
        walker.pdpteLow[slot] = this.readWord(root + 8 * slot);
        walker.pdpteHigh[slot] = this.readWord(root + 8 * slot + 4);
      }
    }
    const high = Math.floor(address / 2 ** 32) | 0;
    const table = levels === WalkFormat.pae ? 0 : root / 4096;
    if (!walker.walk(levels, levels, table, Rights.all, address | 0, high, 0, MODE)) return undefined;
    return { frame: walker.frame, rights: walker.rights, pageShift: walker.pageShift };
  }

  #cellOf(address: number): number {
    if (address < 0 || address >= this.pages * 4096 || address % 4 !== 0) {
      throw new RangeError(`0x${address.toString(16)} is no word of memory`);
    }
    return address / 4;
  }
}
