/**
 * M20: a live entry is written in two halves, the one with the present bit first.
 *
 * History: Xen 0be2a505dd (2006) and 0137f2b67b (2007) wrote 64-bit entries of 32-bit builds half by half, and a
 * processor that walked the table in between used the new frame with the old upper half; 32772fbb3c (2020) found a byte
 * copy that tore entries again. KVM on 32-bit hosts still describes the order that it has to keep.
 *
 * Here the upper half holds XD: while a page of code is replaced by one of data, there is an entry for the page of data
 * that lets it be executed, which nobody ever wrote.
 */
import { EntryFlag, defineScenario, entryHigh, entryLow } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { EntrySetter, SetResult } from "../../src/hypervisor/shadow/set-entry.ts";
import { refersToFrame } from "../../src/hypervisor/shadow/shadow-entry.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { newSpace, READ_WRITE, fetchAt, load, storeEntryAt } from "./handmade.ts";

const WRITABLE = 2;
const CODE = 0x4000_0000;
/** Takes the place of the other page in a TLB of one entry. */
const OTHER = CODE + 4096;
/** Together about as long as the store that they race with. */
const FETCHES = 6;

/** The correct one, but for the store. */
class HalvesSetter extends EntrySetter {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    super(shadow);
    this.#shadow = shadow;
  }

  override setLeaf(cell: number, wantedLow: number, wantedHigh: number): number {
    const { memory, pages } = this.#shadow;
    const oldLow = memory.loadEntry(cell);
    const oldHigh = memory.high;
    if (oldLow === wantedLow && oldHigh === wantedHigh) return SetResult.unchanged;
    let low = wantedLow;
    let high = wantedHigh;
    let result: number = SetResult.changed;
    if (
      refersToFrame(low, high) &&
      !pages.getMapping(this.#shadow.frameIn(low, high), (low & WRITABLE) !== 0)
    ) {
      low = 0;
      high = 0;
      result |= SetResult.error;
    }
    memory.storeWord(cell, low);
    memory.storeWord(cell + 1, high);
    if (refersToFrame(oldLow, oldHigh))
      pages.putMapping(this.#shadow.frameIn(oldLow, oldHigh), (oldLow & WRITABLE) !== 0);
    return result;
  }
}

interface Shared {
  readonly root: number;
  readonly data: number;
  readonly entry: number;
}

/** One vCPU replaces a page of code by a page of data that may not be executed; another executes there. */
export default defineScenario({
  name: "m20-entry-in-two-halves",
  about: "a page of code becomes one of data while another vCPU executes it",
  slide: "entries are single words to whoever walks them: spec 14.4",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64, tlbSets: 1, tlbWays: 1 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(CODE);
    space.page(OTHER);
    return { root: space.root, data: loader.page(), entry: space.windowOn(CODE, 1) };
  },

  programs: [
    function replace(cpu, { entry, data }) {
      storeEntryAt(cpu, entry, entryLow(data, READ_WRITE), entryHigh(data) | EntryFlag.noExecute);
    },
    function execute(cpu) {
      for (let times = 0; times < FETCHES; times++) {
        load(cpu, OTHER);
        fetchAt(cpu, CODE);
      }
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M20",
  title: "a live entry is written in two halves, present half first",
  oracles: ["RACE", "XLATE"],
  prologue(cpu, { root, entry }) {
    cpu.enablePaging(root);
    load(cpu, entry);
    load(cpu, CODE);
    load(cpu, OTHER);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { entries: new HalvesSetter(shadow) });
  },
});
