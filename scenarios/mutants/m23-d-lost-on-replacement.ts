/**
 * M23: the D of a leaf is read before the leaf is replaced, not with it.
 *
 * History: Xen to this day (its shadow_set_l1e and vram bookkeeping of May 2008): the old entry is read, the new one
 * stored, and the D of the old one says whether a page of the frame buffer has changed. Hardware on another processor can
 * set D in between. Found by analysis, never reported: in the list of bugs it is no row, but a hazard of the specification
 * (20.58). The display goes on showing what was there before.
 */
import { DomctlAnswer, defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { refersToFrame } from "../../src/hypervisor/shadow/shadow-entry.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { VramTracking } from "../../src/hypervisor/shadow/vram-tracking.ts";
import { load, newSpace, store, storeEntryAt } from "./handmade.ts";

const RAM_PAGES = 32;
const DATA = 0x4000_0000;
const OTHER = 0x4000_1000;
const WRITABLE = 2;
const DIRTY = 64;
const DRAWN = 7;

/** The correct one with a load and a store in place of an exchange. */
class ReadFirst extends VramTracking {
  readonly #tracked: Shadow;

  constructor(shadow: Shadow) {
    super(shadow);
    this.#tracked = shadow;
  }

  override replaceLeaf(cell: number, low: number, high: number): void {
    const { memory } = this.#tracked;
    const oldLow = memory.loadEntry(cell);
    const oldHigh = memory.high;
    if ((low & WRITABLE) !== 0 && refersToFrame(low, high)) this.gain(cell, this.#tracked.frameIn(low, high));
    memory.storeEntry(cell, low, high);
    if ((oldLow & WRITABLE) !== 0 && refersToFrame(oldLow, oldHigh))
      this.lose(cell, this.#tracked.frameIn(oldLow, oldHigh), (oldLow & DIRTY) !== 0);
  }
}

interface Shared {
  readonly root: number;
  readonly page: number;
  readonly window: number;
}

/** One vCPU draws while another takes the mapping away, and a display looks at what is left. */
export default defineScenario({
  name: "m23-d-lost-on-replacement",
  about: "a page of a frame buffer is drawn to just when its mapping is taken away",
  slide: "VRAM tracking: spec 11.8, 20.58",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: RAM_PAGES },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    const page = space.page(DATA);
    space.page(OTHER);
    return { root: space.root, page, window: space.windowOn(DATA, 1) };
  },

  programs: [
    function draw(cpu) {
      store(cpu, DATA, DRAWN);
    },
    function unmap(cpu, { window }) {
      storeEntryAt(cpu, window, 0, 0);
    },
  ],

  toolstack(toolstack, { page }) {
    const bitmap = new Int32Array(RAM_PAGES / 32);
    const shown = new Int32Array(1);
    const now = new Int32Array(1);
    toolstack.pauseDomain();
    const answer = toolstack.trackVram(0, RAM_PAGES, bitmap, 0);
    if (answer !== DomctlAnswer.done) toolstack.violation("scenario", "the look was refused");
    if ((((bitmap[0] ?? 0) >>> page) & 1) !== 0) toolstack.readPage(page, shown, 0, 1);
    toolstack.readPage(page, now, 0, 1);
    if (shown[0] !== now[0]) {
      const what = `is shown as ${String(shown[0])} and is ${String(now[0])}`;
      toolstack.violation("dirty", `gfn ${String(page)} is told not to have changed, but its word ${what}`);
    }
    toolstack.unpauseDomain();
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M23",
  title: "the D of a leaf is read before it is replaced",
  oracles: ["INV", "DIRTY"],
  tracksVram: true,
  prologue(cpu, { root, window }) {
    cpu.enablePaging(root);
    load(cpu, window);
    // Somebody draws, so that pages that are only looked at are writable, with D clear.
    store(cpu, OTHER, 1);
    load(cpu, DATA);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { vram: new ReadFirst(shadow) });
  },
});
