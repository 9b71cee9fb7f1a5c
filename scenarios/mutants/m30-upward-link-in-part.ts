/**
 * M30: an upward link is followed by somebody who holds a part of the shadow lock, and whose walk is no longer true.
 *
 * History: none yet, per-page locks are Umbra's (docs/per-page-locks.md). Unshadowing goes up, against the order in which
 * tables are locked; done in part, it cuts an entry of a table that others walk, and frees a shadow that they fill.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { HeldLocks } from "../../src/locks/held-locks.ts";
import { RecursiveLock } from "../../src/locks/lock.ts";
import { PerPageLocks } from "../../src/hypervisor/shadow/per-page-locks.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { PER_PAGE, bootNeighbours, clear, touchLast, useTable } from "./neighbours.ts";
import type { Neighbours } from "./neighbours.ts";

/** Whoever holds a part takes that for the whole. */
class EnoughInPart extends RecursiveLock {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow, held: HeldLocks) {
    super(
      shadow.memory,
      shadow.layout,
      "paging",
      shadow.config.lockKind,
      shadow.vcpu,
      held,
      shadow.perPage.locks.parts,
    );
    this.#shadow = shadow;
  }

  override acquire(site: number): void {
    if (!this.#shadow.perPage.isIn()) super.acquire(site);
  }

  override release(): void {
    if (!this.#shadow.perPage.isIn()) super.release();
  }
}

/** Stores every zero in part. */
class Upward extends PerPageLocks {
  protected override mayStore(): boolean {
    return true;
  }
}

/** One vCPU touches a page while the other clears the page's table, which unshadows it. */
export default defineScenario({
  name: "m30-upward-link-in-part",
  about: "a page is touched while its table is cleared",
  slide: "per-page locks against upward links: docs/per-page-locks.md",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},
  boot: bootNeighbours,

  programs: [touchLast, clear],
});

/** The mutant. */
export const mutant = defineMutant<Neighbours>({
  id: "M30",
  title: "an upward link is followed in part of the shadow lock",
  oracles: ["RACE", "INV", "UAF", "LOCK"],
  machine: PER_PAGE,
  prologue: (cpu, shared) => {
    useTable(cpu, shared, 0);
  },
  mutate({ shadow }) {
    const held = new HeldLocks(shadow.vcpu);
    Object.assign(shadow, {
      perPage: new Upward(shadow, shadow.perPage.locks),
      lock: new EnoughInPart(shadow, held),
    });
  },
});
