/**
 * M03: the leaf entry of a walk is not read again after the last step that may have resynced its table.
 *
 * History: Xen 24488e9b29 (2010). A fault reads a leaf entry of a table that is out of sync. Another processor, which may
 * write there freely, takes rights out of it. Then the table is resynced, by a third processor's MOV CR3 or by a later step of
 * the fault itself, and the fault writes a shadow entry from its old copy: the table is known as in sync, and its shadow grants
 * what the guest has taken away. Everything is locked or atomic, so no race is seen; and the version that guards walks says
 * nothing, as stores to an out-of-sync table raise none.
 *
 * Here the step is the fault's own: it links the table at a second place. A third processor's resync cannot come between in
 * Umbra, where a resync raises the version.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { LockFreeWalk } from "../../src/hypervisor/shadow/lock-free-walk.ts";
import { OUT_OF_SYNC, load, newSpace, store, storeEntryAt } from "./handmade.ts";

const DATA = 0x4000_0000;
/** The same table translates it, below tables of level 2 and 3 that have no shadows yet. */
const ALIAS = 0x80_0000_0000;
/** Beyond what a fault at the beginning of the table prefetches. */
const PLACE = 100 * 4096;
/** Between the fault's walk and its resync lie some hundred operations: loads before the store spread over them. */
const LOADS = 16;

/** Trusts its copy of the leaf entry. */
class Trusting extends LockFreeWalk {
  override isLeafStillTrue(): boolean {
    return true;
  }
}

interface Shared {
  readonly root: number;
  /** Where entries of the table can be stored to: of the page in question, and of another. */
  readonly entry: number;
  readonly other: number;
}

/** One vCPU faults through a second way to an out-of-sync table; another clears the entry meanwhile. */
export default defineScenario({
  name: "m03-stale-leaf-after-resync",
  about: "an out-of-sync table is linked at a second place while another vCPU clears an entry in it",
  slide: "out-of-sync shadows: spec 4.6, 7.6",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    space.page(DATA + PLACE);
    space.tables.linkTable(space.root, ALIAS, 2, space.tableOf(DATA, 1));
    return {
      root: space.root,
      entry: space.windowOn(DATA + PLACE, 1),
      other: space.windowOn(DATA + 0x1000, 1),
    };
  },

  programs: [
    function link(cpu) {
      load(cpu, ALIAS + PLACE);
    },
    function clear(cpu, { entry }) {
      for (let times = 0; times < LOADS; times++) load(cpu, entry);
      storeEntryAt(cpu, entry, 0, 0);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M03",
  title: "the leaf entry is not compared once more after a possible resync",
  oracles: ["INV"],
  machine: { switches: OUT_OF_SYNC },
  prologue(cpu, { root, other }) {
    cpu.enablePaging(root);
    load(cpu, DATA);
    store(cpu, other, 0);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { freeWalk: new Trusting(shadow) });
  },
});
