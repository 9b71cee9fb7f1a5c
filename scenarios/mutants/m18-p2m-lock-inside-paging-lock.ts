/**
 * M18: one path takes the p2m lock while it holds the paging lock.
 *
 * History: Xen 4b9686b36f and 362cb954a3 (2012), 801827bf8d, eed8876543 and 1146a5b639 (2011): lookups in the p2m that
 * take its lock were made with the paging lock held, while changes of the p2m take the two in the other order. Each is
 * harmless alone; together they hang the host once in a while. The order itself is the bug, hang or no hang.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { P2m } from "../../src/hypervisor/p2m.ts";
import type { HostedVcpu } from "../../src/hypervisor/machine.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import type { RecursiveLock } from "../../src/locks/lock.ts";
import { newSpace, load } from "./handmade.ts";

const DATA = 0x4000_0000;

/** Looks up under the p2m lock, whatever else is held. */
class LockedLookup extends P2m {
  readonly #lock: RecursiveLock;

  constructor({ vcpu, shadow }: HostedVcpu) {
    super(vcpu.memory, vcpu.layout);
    this.#lock = shadow.p2mLock;
  }

  override entryOf(gfn: number): number {
    this.#lock.acquire(LockSite.page_fault);
    const entry = super.entryOf(gfn);
    this.#lock.release();
    return entry;
  }
}

interface Shared {
  readonly root: number;
  readonly moved: number;
}

/** A vCPU faults while the toolstack moves another page. */
export default defineScenario({
  name: "m18-p2m-lock-inside-paging-lock",
  about: "a vCPU faults while the toolstack moves a page",
  slide: "lock order: spec 14.1",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    return { root: space.root, moved: loader.page() };
  },

  programs: [
    function fault(cpu) {
      load(cpu, DATA);
    },
  ],

  toolstack(toolstack, { moved }) {
    toolstack.removePage(moved);
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M18",
  title: "the p2m lock is taken while the paging lock is held",
  oracles: ["LOCK"],
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
  },
  mutate(hosted) {
    Object.assign(hosted.shadow, { p2m: new LockedLookup(hosted) });
  },
});
