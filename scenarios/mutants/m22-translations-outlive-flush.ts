/**
 * M22: the translation cache is not emptied when the guest flushes its TLB.
 *
 * History: none by this name; the rule is Xen's since 17caf7b1a9 (June 2007), which flushes its virtual TLB at every INVLPG
 * and at every update of CR3 (spec 10.5, 20.62). A cached translation may be as old as one in a TLB, and no older: without the flush the emulator goes on using a page that the kernel has given to somebody else.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import { TranslationCache } from "../../src/hypervisor/shadow/translation-cache.ts";
import { READ_WRITE, load, newSpace, storeEntryAt } from "./handmade.ts";

const DATA = 0x4000_0000;
const WINDOW = 0x5000_0000;
const PAGE = 4096;

class Clinging extends TranslationCache {
  override forgetAll(): void {
    // Keeps what it has.
  }
}

interface Shared {
  readonly root: number;
  readonly frames: readonly [first: number, second: number];
  readonly window: number;
}

/** A kernel moves a page to another frame, and reads it while the emulator is in control. */
export default defineScenario({
  name: "m22-translations-outlive-flush",
  about: "a page is mapped to another frame and flushed, between loads that the emulator executes",
  slide: "virt-to-phys translation cache: spec 10.5",
  guests: ["pae"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    const frames = [space.page(DATA), space.page(DATA + PAGE)] as const;
    const at = space.tables.entryAddress(space.root, DATA, 1);
    space.mapFrame(WINDOW, Math.floor(at / PAGE));
    return { root: space.root, frames, window: WINDOW + (at % PAGE) };
  },

  programs: [
    function remap(cpu, { frames: [, second], window }) {
      storeEntryAt(cpu, window + 16, 0, 0);
      load(cpu, DATA);
      storeEntryAt(cpu, window, second * PAGE + READ_WRITE, 0);
      cpu.invlpg(DATA);
      storeEntryAt(cpu, window + 16, 0, 0);
      load(cpu, DATA);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M22",
  title: "cached translations outlive the guest's flush",
  oracles: ["XLATE"],
  machine: {
    switches: {
      ...PRESETS.talk,
      "early-unshadow": false,
      "unlocked-emulation": true,
      "translation-cache": true,
      "emulate-ahead": true,
    },
  },
  prologue(cpu, { root, window }) {
    cpu.enablePaging(root);
    load(cpu, DATA);
    load(cpu, window);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { translations: new Clinging(shadow) });
  },
});
