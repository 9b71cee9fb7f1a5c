/**
 * M07: whether a page is shadowed is tested before the lock is taken.
 *
 * History: Xen cb015ee268 (2007). Unshadowing a page bailed out early, or went on, by a flag that was read before the
 * lock was taken. Another vCPU made or removed the shadow in between, and what followed worked on a page whose state it
 * had wrong.
 *
 * Here the toolstack takes a page from the guest. The page was no pagetable when it looked, becomes one while it waits
 * for the lock, and is then taken away with its shadow in place.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { DomainControl } from "../../src/hypervisor/domain-control.ts";
import { ShadowPaging } from "../../src/hypervisor/shadow/shadow-paging.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { Counter } from "../../src/memory/counters.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { SHADOWED } from "../../src/memory/frame-table.ts";
import { NO_MFN, mfn } from "../../src/memory/units.ts";
import { newSpace, load } from "./handmade.ts";

const DATA = 0x4000_0000;
const OTHER = 0x5000_0000;

class EarlyTest extends ShadowPaging {
  override beginP2mWrite(_gfn: number, oldFrame: number): void {
    const { lock, unshadow, counters, domain, frames } = this.shadow;
    const isShadowed = oldFrame !== NO_MFN && (frames.shadowFlags(mfn(oldFrame)) & SHADOWED) !== 0;
    lock.acquire(LockSite.p2m_write);
    counters.add(Counter.p2m_writes);
    if (oldFrame === NO_MFN || domain.read(DomainCell.tornDown) !== 0) return;
    if (isShadowed) unshadow.removeShadows(mfn(oldFrame), false, true);
    unshadow.removeAllMappings(mfn(oldFrame));
    this.shadow.flushAll();
  }
}

interface Shared {
  readonly root: number;
  readonly table: number;
}

/** A page becomes a leaf table on a vCPU while the toolstack takes it away. */
export default defineScenario({
  name: "m07-shadowed-test-outside-lock",
  about: "a page becomes a pagetable while the toolstack takes it from the guest",
  slide: "removing a page: spec 12.2; unshadowing: spec 3.13",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
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
  id: "M07",
  title: "whether a page is shadowed is tested before the lock is taken",
  oracles: ["RACE", "INV", "UAF"],
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
    load(cpu, OTHER);
  },
  mutateToolstack(domain) {
    return new DomainControl(domain.shadow, new EarlyTest(domain.shadow), domain.p2mLock);
  },
});
