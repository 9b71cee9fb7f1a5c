/**
 * The p2m: guest frame to machine frame and type. Entries are written under the p2m lock and the paging lock and are
 * single words, so readers need no lock and never see a torn entry (spec 12.1, 14.4).
 */
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Mfn } from "../memory/units.ts";
import type { FrameMap } from "../machine/walker.ts";
import { P2mType, frameInP2mEntry, mappedInP2mEntry, p2mEntry, ramInP2mEntry } from "./p2m-type.ts";

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

  /** The entry of a gfn, frame and type in one (p2m-type.ts); beyond the guest's memory all is emulated MMIO. */
  entryOf(gfn: number): number {
    if (gfn < 0 || gfn >= this.ramPages) return P2mType.mmioDm;
    return this.#memory.loadWord(this.#base + gfn);
  }

  /** The machine frame of a gfn; NO_MFN when the guest finds no memory there. */
  frameOf(gfn: number): Mfn {
    return ramInP2mEntry(this.entryOf(gfn));
  }

  /** The frame that tables map for a gfn: memory's, or a device's; NO_MFN when there is none. */
  mappedFrameOf(gfn: number): Mfn {
    return mappedInP2mEntry(this.entryOf(gfn));
  }

  /** The frame that a gfn has, though the guest may not use it now; NO_MFN when it has none. */
  ownFrameOf(gfn: number): Mfn {
    return frameInP2mEntry(this.entryOf(gfn));
  }

  /** Only the tables that hardware walks protect pages; whoever walks by this marks them dirty afterwards. */
  refusesMark(): boolean {
    return false;
  }

  /** Writes an entry. Callers hold both locks and run the hooks of the paging mode. */
  writeEntry(gfn: number, frame: Mfn, type: number): void {
    this.#memory.storeWord(this.#base + gfn, p2mEntry(frame, type));
  }
}
