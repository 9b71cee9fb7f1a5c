/**
 * M21: whether an entry is absent before a store is sampled before the lock is taken.
 *
 * History: Xen since 2895a506ab (February 2008), when mapping the destination of an emulated store moved out of the lock
 * and the sample went with it. A store of an absent entry over an absent one is not validated; if another vCPU makes the
 * entry present between the sample and the store, its shadow stays present. Found by analysis, never reported: in the list
 * of bugs it is no row, but a hazard of the specification (20.14).
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import { Emulation } from "../../src/hypervisor/shadow/emulate.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { SkipVerify } from "../../src/hypervisor/shadow/skip-verify.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { READ_WRITE, load, newSpace, storeEntryAt } from "./handmade.ts";

const DATA = 0x4000_0000;
const OTHER = 0x4000_8000;
const PAGE_SHIFT = 12;
const PAGE_MASK = 4095;
/** Not present, and not zero: a page that was swapped out, say. */
const SWAPPED = 0x1000;

class EarlySample extends SkipVerify {
  override sample(): void {
    // Taken already.
  }

  sampleEarly(frame: Mfn, offset: number): void {
    super.sample(frame, offset);
  }
}

class SamplingEmulation extends Emulation {
  readonly #sampled: Shadow;
  readonly #sample: EarlySample;

  constructor(shadow: Shadow, sample: EarlySample) {
    super(shadow);
    this.#sampled = shadow;
    this.#sample = sample;
  }

  override gfnOf(low: number, high: number): number {
    const gfn = super.gfnOf(low, high);
    if (gfn >= 0) this.#sample.sampleEarly(this.#sampled.p2m.frameOf(gfn), low & PAGE_MASK);
    return gfn;
  }
}

interface Shared {
  readonly root: number;
  readonly frame: number;
  readonly window: number;
}

/** One vCPU maps a page while another stores that it is not there. */
export default defineScenario({
  name: "m21-absence-sampled-early",
  about: "two vCPUs store to one absent entry: a present one, and another absent one",
  slide: "skip-verify: spec 5.4, 20.14",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    const frame = space.page(OTHER);
    return { root: space.root, frame, window: space.windowOn(DATA, 1) };
  },

  programs: [
    function forget(cpu, { window }) {
      storeEntryAt(cpu, window, SWAPPED, 0);
    },
    function mapPage(cpu, { window, frame }) {
      storeEntryAt(cpu, window, (frame << PAGE_SHIFT) | READ_WRITE, 0);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M21",
  title: "absence is sampled before the lock",
  oracles: ["INV"],
  machine: { switches: { ...PRESETS.talk, "unlocked-emulation": true, "skip-verify": true } },
  prologue(cpu, { root, window }) {
    cpu.enablePaging(root);
    load(cpu, OTHER);
    load(cpu, window);
  },
  mutate({ shadow }) {
    const skipVerify = new EarlySample(shadow);
    Object.assign(shadow, { skipVerify, emulation: new SamplingEmulation(shadow, skipVerify) });
  },
});
