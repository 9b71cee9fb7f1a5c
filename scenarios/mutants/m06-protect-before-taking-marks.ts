/**
 * M06: a harvest takes write access away first and the marks afterwards, while the domain runs.
 *
 * History: KVM edde99ce0529 (2010). Between the two steps a vCPU stores to a page: it faults, the page is marked in the
 * bitmap that is about to be taken, and becomes writable. After the exchange it is writable and clean, so that no further
 * store to it is logged, and the migrated guest lacks them. The author states the rule: every page is dirty in the bitmap of
 * now, or write-protected.
 *
 * Xen's harvest pauses the domain, which makes the order of the steps a matter of taste. So the mutant is one of the other.
 */
import { DomctlAnswer, defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { LogDirtyControl } from "../../src/hypervisor/log-dirty-control.ts";
import { newSpace, store } from "./handmade.ts";

const DATA = 0x4000_0000;
const RAM_PAGES = 32;
const STORES = 3;

/** The correct one with two steps exchanged. */
class ProtectFirst extends LogDirtyControl {
  override collect(isRunning: boolean): void {
    this.takeRights(isRunning);
    this.takeMarks();
  }
}

interface Shared {
  readonly root: number;
  readonly page: number;
}

/** A vCPU stores to a page while it is migrated: one harvest that runs beside it, and one when it is stopped. */
export default defineScenario({
  name: "m06-protect-before-taking-marks",
  about: "a page is written before, in the middle of, and after a harvest",
  slide: "log-dirty mode: spec 11.6; the harvest without a pause",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: RAM_PAGES, poolPages: 160 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    const page = space.page(DATA);
    return { root: space.root, page };
  },

  programs: [
    function write(cpu) {
      for (let value = 1; value <= STORES; value++) store(cpu, DATA, value);
    },
  ],

  toolstack(toolstack, { page }) {
    const bitmap = new Int32Array(RAM_PAGES / 32);
    const copy = new Int32Array(1);
    const now = new Int32Array(1);
    toolstack.readPage(page, copy, 0, 1);
    for (let round = 0; round < 2; round++) {
      // The last one when nothing changes any more.
      if (round === 1) toolstack.pauseDomain();
      const answer = toolstack.harvestDirty(bitmap, false);
      if (answer !== DomctlAnswer.done) toolstack.violation("scenario", "a harvest was refused");
      if ((((bitmap[0] ?? 0) >>> page) & 1) !== 0) toolstack.readPage(page, copy, 0, 1);
    }
    toolstack.readPage(page, now, 0, 1);
    if (copy[0] !== now[0]) {
      const what = `was migrated as ${String(copy[0])} and is ${String(now[0])}`;
      toolstack.violation("dirty", `the word of gfn ${String(page)} ${what}`);
    }
    toolstack.unpauseDomain();
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M06",
  title: "write access is taken before the marks are, not after",
  oracles: ["INV", "DIRTY"],
  logsDirty: true,
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
    store(cpu, DATA, 1);
  },
  mutateToolstack(domain) {
    return Object.assign(domain, { dirty: new ProtectFirst(domain.dirty.parts) });
  },
});
