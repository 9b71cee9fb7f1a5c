/**
 * M29: the references of a mapping are counted without the lock of the page that is mapped.
 *
 * History: none yet, per-page locks are Umbra's (docs/per-page-locks.md). Under one lock counts were nobody's concern; with
 * a lock for each table, two tables that map one page count it at the same time, and one of the two is lost. It is the class
 * of XSA-280, where a count that two could change was wrong afterwards.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { PerPageLocks } from "../../src/hypervisor/shadow/per-page-locks.ts";
import { READ_ONLY, load, newSpace } from "./handmade.ts";
import { PER_PAGE } from "./neighbours.ts";

const HERE = 0x4000_0000;
const THERE = 0x5000_0000;

/** The correct one, but for the locks of frames. */
class Uncounted extends PerPageLocks {
  override lockFrame(): void {}

  override unlockFrame(): void {}
}

interface Shared {
  readonly root: number;
}

/** Two vCPUs touch one page through two tables. */
export default defineScenario({
  name: "m29-counts-without-lock",
  about: "one page is touched through two tables",
  slide: "per-page locks: docs/per-page-locks.md",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    const frame = space.page(HERE, READ_ONLY);
    space.mapFrame(THERE, frame, READ_ONLY);
    // Neighbours, so that both tables are known before.
    space.page(HERE + 0x20_000, READ_ONLY);
    space.page(THERE + 0x20_000, READ_ONLY);
    return { root: space.root };
  },

  programs: [
    function touchHere(cpu) {
      load(cpu, HERE);
    },
    function touchThere(cpu) {
      load(cpu, THERE);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M29",
  title: "mappings are counted without the lock of the page",
  oracles: ["RACE", "INV", "REF"],
  machine: PER_PAGE,
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
    load(cpu, HERE + 0x20_000);
    load(cpu, THERE + 0x20_000);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { perPage: new Uncounted(shadow, shadow.perPage.locks) });
  },
});
