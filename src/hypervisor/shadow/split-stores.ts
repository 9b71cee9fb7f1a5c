/** What shadow mode does about the memory part of an access that is split with a device. */
import { Counter } from "../../memory/counters.ts";
import type { Mfn } from "../../memory/units.ts";
import type { StoreWatch } from "../split-access.ts";
import type { Shadow } from "./shadow.ts";

/** Keeps the shadows of pages that are stored to in part. Callers hold the paging lock. */
export class SplitStores implements StoreWatch {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** No way to write an entry, as with any store that crosses pages: the page is probably no pagetable. */
  beforeStore(frame: Mfn): void {
    this.#shadow.unshadow.removeShadows(frame, false, false);
  }

  afterStore(frame: Mfn, offset: number, size: number): void {
    const { counters, validation, freeWalk, logDirty } = this.#shadow;
    counters.add(Counter.write_validated);
    logDirty.markFrame(frame);
    validation.validate(frame, offset, size);
    freeWalk.noteChange();
  }
}
