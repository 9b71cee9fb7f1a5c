/**
 * The p2m: guest frame to machine frame. Entries are written under the p2m lock and the paging lock and are single
 * words, so readers need no lock and never see a torn entry (spec 12.1, 14.4).
 *
 * An entry is the mfn shifted by 4 with a type in the low bits. A gfn that is not RAM is emulated MMIO.
 */
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { NO_MFN, mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import type { FrameMap } from "../machine/walker.ts";

const TYPE_RAM = 1;
const TYPE_BITS = 4;

/** The frame that an entry names; NO_MFN when it names none. */
export function frameInP2mEntry(entry: number): Mfn {
  return entry === 0 ? NO_MFN : mfn(entry >>> TYPE_BITS);
}

/** The p2m of the domain. It maps the tables of a guest walk, too: those are named by gfn. */
export class P2m implements FrameMap {
  readonly ramPages: number;
  readonly #memory: SharedMemory;
  readonly #base: number;

  constructor(memory: SharedMemory, layout: Layout) {
    this.#memory = memory;
    this.#base = layout.regions.p2m.offset;
    this.ramPages = layout.sizes.ramPages;
  }

  /** The machine frame of a gfn; NO_MFN when it is not RAM. */
  frameOf(gfn: number): Mfn {
    if (gfn < 0 || gfn >= this.ramPages) return NO_MFN;
    return frameInP2mEntry(this.#memory.loadWord(this.#base + gfn));
  }

  /** Only the tables that hardware walks protect pages; whoever walks by this marks them dirty afterwards. */
  refusesMark(): boolean {
    return false;
  }

  /** Writes an entry; NO_MFN makes the gfn emulated MMIO. Callers hold both locks and run the hooks (p2m-write.ts). */
  writeEntry(gfn: number, frame: Mfn): void {
    this.#memory.storeWord(this.#base + gfn, frame === NO_MFN ? 0 : (frame << TYPE_BITS) | TYPE_RAM);
  }
}
