/**
 * M02: the guest's tables are walked without the lock, and not looked at again once it is held.
 *
 * History: Xen 948397ecb8 (2008) took the fault handler's walk out of the lock and guarded it by a version, which whoever
 * changes tables raises; if it has changed the entries are read once more. KVM f7d9c7b7b902 (2008) had concluded that a
 * walk is still good if the table is not new. Without the second look what another processor changed in between is lost:
 * the shadow grants what the guest has taken away, and as the table is in sync nothing ever corrects it.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import { LockFreeWalk } from "../../src/hypervisor/shadow/lock-free-walk.ts";
import { load, newSpace, storeEntryAt } from "./handmade.ts";

const DATA = 0x4000_0000;
/** In the same table, so that it is known as one. */
const OTHER = 0x4000_8000;

class Credulous extends LockFreeWalk {
  override isTrusted(): boolean {
    return true;
  }

  override isLeafStillTrue(): boolean {
    return true;
  }
}

interface Shared {
  readonly root: number;
  readonly window: number;
}

/** One vCPU touches a page for the first time while another unmaps it. */
export default defineScenario({
  name: "m02-walk-not-revalidated",
  about: "a page is unmapped by one vCPU while another one's fault on it walks the tables",
  slide: "the lock-free walk: spec 4.6",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    space.page(OTHER);
    return { root: space.root, window: space.windowOn(DATA, 1) };
  },

  programs: [
    function touch(cpu) {
      load(cpu, DATA);
    },
    function unmap(cpu, { window }) {
      storeEntryAt(cpu, window, 0, 0);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M02",
  title: "the lock-free walk is not looked at again",
  oracles: ["INV", "XLATE"],
  machine: { switches: { ...PRESETS.talk, prefetch: false, "lock-free-walk": true } },
  prologue(cpu, { root, window }) {
    cpu.enablePaging(root);
    load(cpu, OTHER);
    load(cpu, window);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { freeWalk: new Credulous(shadow) });
  },
});
