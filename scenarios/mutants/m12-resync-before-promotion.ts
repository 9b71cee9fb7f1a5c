/**
 * M12: a fault that builds its chain of shadows resyncs what is out of sync as soon as it has linked an upper table, not when
 * all tables of the walk are known as pagetables.
 *
 * History: Xen 6d72e644df and, four days later, 1f80f21b47 (2008). A new upper entry is a path for which the guest need not
 * flush, so everything is resynced. Done at once, the resync makes anew entries of other tables, and one of them may map the
 * leaf table of this very walk: write access to it has been revoked, but it is no pagetable yet, so the entry is made
 * writable. Then the page becomes a pagetable, and the guest can write to it unseen: memory of 64-bit guests was corrupted.
 */
import { defineScenario, entryHigh, entryLow } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { OutOfSync } from "../../src/hypervisor/shadow/out-of-sync.ts";
import { OUT_OF_SYNC, READ_WRITE, load, newSpace, storeEntryAt } from "./handmade.ts";

const DATA = 0x4000_0000;
/** In another part of the address space, whose tables have no shadows yet. */
const AFAR = 0x80_0000_0000;

/** Resyncs in the middle of the chain. */
class Hasty extends OutOfSync {
  override linkedUpper(): void {
    this.resyncAll();
  }
}

interface Shared {
  readonly root: number;
  /** The leaf table of `AFAR`. */
  readonly table: number;
  /** Where the entry of `DATA` can be stored to. */
  readonly entry: number;
}

/** One vCPU makes a page its leaf table; another has mapped that page for writing by an out-of-sync table. */
export default defineScenario({
  name: "m12-resync-before-promotion",
  about: "a page becomes a leaf table while an out-of-sync table has a writable entry for it",
  slide: "out-of-sync shadows: spec 4.7, 7.7",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    space.page(AFAR);
    return { root: space.root, table: space.tableOf(AFAR, 1), entry: space.windowOn(DATA, 1) };
  },

  programs: [
    function walk(cpu) {
      load(cpu, AFAR);
    },
    function remap(cpu, { table, entry }) {
      storeEntryAt(cpu, entry, entryLow(table, READ_WRITE), entryHigh(table));
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M12",
  title: "everything is resynced as soon as an upper entry is linked",
  oracles: ["INV"],
  machine: { switches: OUT_OF_SYNC },
  prologue(cpu, { root, entry }) {
    cpu.enablePaging(root);
    load(cpu, DATA);
    load(cpu, entry);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { outOfSync: new Hasty(shadow) });
  },
});
