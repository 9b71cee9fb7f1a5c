/**
 * M28: the lock of a child is taken before that of its parent: of a page before that of the table that maps it.
 *
 * History: none yet, per-page locks are Umbra's (docs/per-page-locks.md); top-down ordering is the talk's own condition for
 * them. Two vCPUs that lock the same two pages in different orders wait for each other for ever.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { PerPageLocks } from "../../src/hypervisor/shadow/per-page-locks.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { storeEntryAt } from "./handmade.ts";
import { PER_PAGE, bootNeighbours, touchFirst, useTable } from "./neighbours.ts";
import type { Neighbours } from "./neighbours.ts";

/** Locks the page that was walked to, so that it stays what it is, and then the table. */
class BottomUp extends PerPageLocks {
  readonly #hub: Shadow;

  constructor(shadow: Shadow) {
    super(shadow, shadow.perPage.locks);
    this.#hub = shadow;
  }

  override lockTable(table: Mfn, site: number): void {
    const { guest, p2m } = this.#hub;
    const { frameLock } = this.locks;
    const frame = p2m.frameOf(guest.walker.frame);
    if (frame <= 0) {
      super.lockTable(table, site);
      return;
    }
    frameLock.acquire(frame, LockSite.get_mapping);
    super.lockTable(table, site);
    frameLock.release();
  }
}

/** One vCPU touches a page while the other writes its entry. */
export default defineScenario({
  name: "m28-child-locked-before-parent",
  about: "a page is touched while its entry is written",
  slide: "top-down ordering: docs/per-page-locks.md",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},
  boot: bootNeighbours,

  programs: [
    touchFirst,
    function write(cpu, { window }: Neighbours) {
      storeEntryAt(cpu, window, 0, 0);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Neighbours>({
  id: "M28",
  title: "a page's lock is taken before that of the table that maps it",
  oracles: ["LOCK"],
  machine: PER_PAGE,
  prologue: (cpu, shared) => {
    useTable(cpu, shared, 3);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { perPage: new BottomUp(shadow) });
  },
});
