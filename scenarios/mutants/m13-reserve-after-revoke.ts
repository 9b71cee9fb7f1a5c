/**
 * M13: a fault reserves pages of the pool after it has revoked write access to the tables of its walk, not before.
 *
 * History: Xen 3ea6bace3b (2009). An out-of-sync leaf table keeps its writable mappings, so revocation leaves it alone. Then the
 * reserve, in a pool that is short, takes shadows away, and that table's last one among them: it is a page like any other, and
 * writable. The fault goes on and makes it a table again: in sync, and writable. Only with a full pool.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { ShadowChain } from "../../src/hypervisor/shadow/chain.ts";
import { Pool } from "../../src/hypervisor/shadow/pool.ts";
import { ShadowType } from "../../src/hypervisor/shadow/shadow-type.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { OUT_OF_SYNC, SHORT_OF_PAGES, load, newSpace, store } from "./handmade.ts";

const DATA = 0x4000_0000;
/** Translated by the same table, beyond what a fault at its beginning prefetches. */
const BEYOND = DATA + 100 * 4096;

/** Puts a fault's reserve off. */
class LatePool extends Pool {
  #wanted = 0;

  override prealloc(type: number, count: number): boolean {
    if (type !== ShadowType.l1_64) return super.prealloc(type, count);
    this.#wanted = count;
    return true;
  }

  reserve(): boolean {
    return super.prealloc(ShadowType.l1_64, this.#wanted);
  }
}

class LateChain extends ShadowChain {
  readonly #pool: LatePool;

  constructor(shadow: Shadow, pool: LatePool) {
    super(shadow);
    this.#pool = pool;
  }

  override leafCell(isWrite: boolean): number {
    return this.#pool.reserve() ? super.leafCell(isWrite) : 0;
  }
}

interface Shared {
  readonly root: number;
  readonly other: number;
  /** In the other address space: where the table can be stored to. */
  readonly window: number;
}

/** A vCPU faults through a table that another, in an address space of its own, has put out of sync; the pool is short. */
export default defineScenario({
  name: "m13-reserve-after-revoke",
  about: "a fault through an out-of-sync table has to take shadows away to have enough pages",
  slide: "out-of-sync shadows: spec 4.6, 14.9; the pool: spec 3.7",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    space.page(BEYOND);
    const other = newSpace(loader);
    return { root: space.root, other: other.root, window: other.windowAt(space.tableOf(DATA, 1)) };
  },

  programs: [
    function fault(cpu) {
      load(cpu, BEYOND);
    },
    function write(cpu, { window }) {
      store(cpu, window + 8, 0);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M13",
  title: "pages are reserved after write access was revoked",
  oracles: ["INV"],
  machine: { ...SHORT_OF_PAGES, switches: { ...OUT_OF_SYNC, pinning: false } },
  freePoolPages: 2,
  prologue(cpu, { root, other, window }) {
    cpu.enablePaging(cpu.id === 0 ? root : other);
    if (cpu.id === 0) load(cpu, DATA);
    else store(cpu, window + 8, 0);
  },
  mutate({ shadow }) {
    const pool = new LatePool(shadow);
    Object.assign(shadow, { pool, chain: new LateChain(shadow, pool) });
  },
});
