/**
 * M14: a fault reserves pages for the shadows that it may make, and none for the marks.
 *
 * History: XSA-427, Xen 33fb3a6612 (2023); of the same kind 43639f12e8 (2009). Marking a page dirty can take pages for the
 * tree of dirty pages from the pool that shadows are made of. That was not counted in what the fault handler reserves, so
 * that with a pool nearly empty the allocation inside the fault gave up shadows: those that the fault was building.
 *
 * It takes one vCPU, a pool with just as many free pages as the shadows need, and a first write in a region of which
 * nothing was dirty before. The prologue fills the pool with leaf tables.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { DIRTY_TREE_LEVELS } from "../../src/hypervisor/dirty-tree.ts";
import { Pool } from "../../src/hypervisor/shadow/pool.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { SHORT_OF_PAGES, load, newSpace, store } from "./handmade.ts";

const DATA = 0x4000_0000;
/** What one leaf table maps. */
const REGION = 0x20_0000;
const REGIONS = 160;
/** Pages that a fault of a 4-level guest reserves for shadows, and all that it reserves. */
const SHADOW_PAGES = 3;
const RESERVE = SHADOW_PAGES + DIRTY_TREE_LEVELS;

class Unreserved extends Pool {
  override reserveBeside(type: number): number {
    return type < 0 ? 1 : 0;
  }
}

interface Shared {
  readonly root: number;
}

/** A store to a new region while writes are logged and the pool is nearly empty. */
export default defineScenario({
  name: "m14-no-reserve-for-marks",
  about: "the first store to a region is logged when the pool has pages for its shadows alone",
  slide: "log-dirty mode: spec 11.5; preallocation: 3.7",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 192, poolPages: 150 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    const page = space.page(DATA);
    for (let region = 1; region < REGIONS; region++) space.mapFrame(DATA + region * REGION, page);
    return { root: space.root };
  },

  programs: [
    function write(cpu) {
      store(cpu, DATA + (REGIONS - 1) * REGION, 1);
      store(cpu, DATA, 2);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M14",
  title: "pages of the tree of dirty pages are left out of the reserve",
  oracles: ["UAF", "INV"],
  machine: SHORT_OF_PAGES,
  logsDirty: true,
  freePoolPages: SHADOW_PAGES,
  prologue(cpu, { root }) {
    const { memory, layout } = cpu.vcpu;
    const free = layout.regions.domain.offset + DomainCell.poolFree;
    cpu.enablePaging(root);
    for (let region = 0; region < REGIONS - 2 && memory.loadGuarded(free) >= RESERVE; region++)
      load(cpu, DATA + region * REGION);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { pool: new Unreserved(shadow) });
  },
});
