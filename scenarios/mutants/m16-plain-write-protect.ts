/**
 * M16: an entry is write-protected by a plain load and store instead of an atomic access.
 *
 * History: KVM's locking.rst, case 2, and ba3a6120a4e7 (2022): an entry was read, taken for one that nobody else changes,
 * and overwritten plainly, while hardware or the lock-free fast path set D or W in it. Linux 1cf35d47712d (2014) is the
 * same for D that stands in another processor's TLB. The bit is lost, and with it the knowledge that the page was
 * written.
 *
 * Here D of shadow entries means nothing: what the guest sees of A and D is kept by not granting writes before D is set.
 * So the lost bit does no harm in itself; what is left of the bug, and what finds it, is the race.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { EntrySetter, SetResult } from "../../src/hypervisor/shadow/set-entry.ts";
import { refersToFrame } from "../../src/hypervisor/shadow/shadow-entry.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { load, newSpace, store } from "./handmade.ts";

const WRITABLE = 2;
const DATA = 0x4000_0000;
/** Before the store: together about as long as the other vCPU's fault, up to where it write-protects. */
const LOADS = 12;

/** The correct one, but for leaves that only lose their write access. */
class PlainSetter extends EntrySetter {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    super(shadow);
    this.#shadow = shadow;
  }

  override setLeaf(cell: number, wantedLow: number, wantedHigh: number): number {
    const { memory, pages } = this.#shadow;
    const oldLow = memory.loadGuarded(cell);
    const isProtection = (oldLow & ~WRITABLE) === wantedLow && oldLow !== wantedLow;
    if (!isProtection || !refersToFrame(wantedLow, wantedHigh))
      return super.setLeaf(cell, wantedLow, wantedHigh);
    const frame = this.#shadow.frameIn(wantedLow, wantedHigh);
    if (!pages.getMapping(frame, false)) return SetResult.error;
    memory.storeGuarded(cell, wantedLow);
    pages.putMapping(frame, true);
    return SetResult.changed;
  }
}

interface Shared {
  readonly root: number;
  readonly window: number;
}

/** One vCPU write-protects a page to make it its leaf table; another's first store to the page sets D meanwhile. */
export default defineScenario({
  name: "m16-plain-write-protect",
  about: "a page becomes a pagetable while another vCPU's first store to it sets D in its shadow entry",
  slide: "the walker sets A and D while the lock's holder writes entries: spec 14.4",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    return { root: space.root, window: space.windowAt(space.tableOf(DATA, 1)) };
  },

  programs: [
    function walk(cpu) {
      load(cpu, DATA);
    },
    function write(cpu, { window }) {
      for (let times = 0; times < LOADS; times++) load(cpu, window);
      store(cpu, window + 8, 0);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M16",
  title: "an entry is write-protected by a plain load and store",
  oracles: ["RACE", "ADBIT"],
  prologue(cpu, { root, window }) {
    cpu.enablePaging(root);
    load(cpu, window);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { entries: new PlainSetter(shadow) });
  },
});
