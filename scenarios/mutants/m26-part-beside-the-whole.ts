/**
 * M26: a part of the shadow lock is taken without a look at whether somebody has the whole.
 *
 * History: none yet, per-page locks are Umbra's (docs/per-page-locks.md); but of reader-writer locks it is the oldest bug,
 * and Linux's own big-reader lock had it on processors that reorder a store and a later load. A fault then fills a shadow
 * that is being taken away.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { HeldLocks } from "../../src/locks/held-locks.ts";
import { Parts, partCell } from "../../src/locks/parts.ts";
import { PerPageLocks } from "../../src/hypervisor/shadow/per-page-locks.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { PER_PAGE, bootNeighbours, clear, touchLast, useTable } from "./neighbours.ts";
import type { Neighbours } from "./neighbours.ts";

/** The correct one without the look. */
class Unasked extends Parts {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    super(shadow.memory, shadow.layout, shadow.vcpu, new HeldLocks(shadow.vcpu));
    this.#shadow = shadow;
  }

  override begin(): void {
    const { memory, layout, vcpu } = this.#shadow;
    memory.storeWord(partCell(layout, vcpu.id), vcpu.id + 1);
    this.isIn = true;
  }

  override end(): void {
    const { memory, layout, vcpu } = this.#shadow;
    this.isIn = false;
    memory.storeWord(partCell(layout, vcpu.id), 0);
    vcpu.waiter.wakeSleepers(partCell(layout, vcpu.id));
  }
}

/** One vCPU touches a page while the other clears the page's table, which unshadows it. */
export default defineScenario({
  name: "m26-part-beside-the-whole",
  about: "a page is touched while its table is cleared",
  slide: "per-page locks: docs/per-page-locks.md",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},
  boot: bootNeighbours,

  programs: [touchLast, clear],
});

/** The mutant. */
export const mutant = defineMutant<Neighbours>({
  id: "M26",
  title: "a part of the shadow lock is taken beside the whole",
  oracles: ["RACE", "INV", "LOCK", "UAF"],
  machine: PER_PAGE,
  prologue: (cpu, shared) => {
    useTable(cpu, shared, 0);
  },
  mutate({ shadow }) {
    const locks = { ...shadow.perPage.locks, parts: new Unasked(shadow) };
    Object.assign(shadow, { perPage: new PerPageLocks(shadow, locks) });
  },
});
