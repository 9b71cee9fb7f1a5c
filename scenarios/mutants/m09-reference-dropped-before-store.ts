/**
 * M09: the emulator stores to the frame that it found before it had the lock.
 *
 * History: XSA-219, Xen 26217aff67 (2017), brought in by 7f05d3ff76 (2013). The emulator translated the address, dropped
 * its reference to the page, mapped the frame and wrote. A balloon or remap by another vCPU in between freed the frame and
 * gave it to somebody else, into whose memory the guest then wrote.
 *
 * Umbra's emulator holds no reference: once it has the lock it asks the p2m again. The mutant does not. While it waits for
 * the lock it acknowledges the flush that whoever takes the page away waits for.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import { Emulation } from "../../src/hypervisor/shadow/emulate.ts";
import { load, newSpace, store } from "./handmade.ts";

const DATA = 0x4000_0000;

class WithoutReference extends Emulation {
  protected override isStillThere(): boolean {
    return true;
  }
}

interface Shared {
  readonly root: number;
  readonly table: number;
  readonly window: number;
}

/** A vCPU stores to its leaf table while the toolstack takes the table's page away. */
export default defineScenario({
  name: "m09-reference-dropped-before-store",
  about: "the toolstack takes a pagetable's page away while a store to it is emulated",
  slide: "emulation without the lock: spec 5.1; removing a page: spec 12.2",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    const table = space.tableOf(DATA, 1);
    return { root: space.root, table, window: space.windowAt(table) };
  },

  programs: [
    function write(cpu, { window }) {
      store(cpu, window + 8, 0);
    },
  ],

  toolstack(toolstack, { table }) {
    toolstack.removePage(table);
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M09",
  title: "the emulator's frame is not held until its store",
  oracles: ["UAF"],
  machine: { switches: { ...PRESETS.talk, "unlocked-emulation": true } },
  prologue(cpu, { root, window }) {
    cpu.enablePaging(root);
    load(cpu, DATA);
    load(cpu, window);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { emulation: new WithoutReference(shadow) });
  },
});
