/**
 * M25: a page's frame goes to others while a walk without the lock still has it from the old p2m entry.
 *
 * History: Umbra's own, until the pager of p2m-types met it. All mappings went and every vCPU flushed *before* the entry was
 * changed; but a vCPU that had flushed could walk its tables, without the lock, by the entry that was still the old one,
 * and set A in a frame that had a new owner by then. The kind of bug is XSA-219's (Xen 26217aff67, 2017), where the
 * emulator had dropped its reference; Xen's walks hold one to each table (specification 4.1).
 */
import { EntryFlag, defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { DomainControl } from "../../src/hypervisor/domain-control.ts";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import { ShadowPaging } from "../../src/hypervisor/shadow/shadow-paging.ts";
import { load, newSpace } from "./handmade.ts";

const DATA = 0x4000_0000;
const OTHER = 0x4020_0000;

/** The correct one, but that it waits for nobody. */
class Hasty extends ShadowPaging {
  override awaitP2mReaders(): void {
    // They have flushed, have they not?
  }
}

interface Shared {
  readonly root: number;
  readonly table: number;
}

/** A vCPU walks through a table that is taken away. */
export default defineScenario({
  name: "m25-frame-gone-under-walk",
  about: "a vCPU walks through a table while the toolstack takes it away",
  slide: "changes of the p2m: spec 12.2; walks without the lock: 4.1, 4.6",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 32 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA, EntryFlag.present | EntryFlag.writable);
    space.page(OTHER);
    return { root: space.root, table: space.tableOf(DATA, 1) };
  },

  programs: [
    function walk(cpu) {
      load(cpu, DATA);
    },
  ],

  toolstack(toolstack, { table }) {
    toolstack.removePage(table);
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M25",
  title: "a frame is freed while a walk without the lock goes through it",
  oracles: ["UAF", "RACE"],
  // A walk in part keeps whoever changes the p2m out.
  isHarmlessPerPage: true,
  machine: { switches: { ...PRESETS.talk, "lock-free-walk": true }, reuse: "last-in-first-out" },
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
    load(cpu, OTHER);
  },
  mutateToolstack(domain) {
    return new DomainControl(domain.shadow, new Hasty(domain.shadow), domain.p2mLock);
  },
});
