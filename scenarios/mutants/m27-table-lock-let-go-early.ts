/**
 * M27: a table's lock is let go one level too early, before the shadow of the entry that it guards is stored.
 *
 * History: none yet, per-page locks are Umbra's (docs/per-page-locks.md). What was read of the guest's table is out of date
 * when its shadow is made: another vCPU has stored to the table, and brought the shadow up to date, in between. It is M02
 * one level down.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { PerPageLocks } from "../../src/hypervisor/shadow/per-page-locks.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { READ_WRITE, storeEntryAt } from "./handmade.ts";
import { PER_PAGE, bootNeighbours, touchFirst, useTable } from "./neighbours.ts";
import type { Neighbours } from "./neighbours.ts";

/** The correct one, which gives up at once what it has taken. */
class LetGo extends PerPageLocks {
  override lockTable(table: Mfn, site: number): void {
    super.lockTable(table, site);
    super.unlockTable();
  }

  override unlockTable(): void {}
}

/** One vCPU touches a page while the other maps another there. */
export default defineScenario({
  name: "m27-table-lock-let-go-early",
  about: "a page is touched while another is mapped in its place",
  slide: "per-page locks: docs/per-page-locks.md",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},
  boot: bootNeighbours,

  programs: [
    touchFirst,
    function remap(cpu, { window, root }: Neighbours) {
      storeEntryAt(cpu, window, root * 4096 + READ_WRITE, 0);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Neighbours>({
  id: "M27",
  title: "a table's lock is let go before the shadow entry is stored",
  oracles: ["RACE", "INV"],
  machine: PER_PAGE,
  prologue: (cpu, shared) => {
    useTable(cpu, shared, 3);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { perPage: new LetGo(shadow, shadow.perPage.locks) });
  },
});
