/**
 * M24: a page becomes read-only in the p2m, but what maps it for writing stays as it is.
 *
 * History: none; no row of the list of bugs, but a rule of the specification, broken (12.2): whatever maps a page goes when its
 * entry changes, and every vCPU flushes. The guest goes on writing to what others take for constant.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { P2mChanges } from "../../src/hypervisor/p2m-changes.ts";
import { frameInP2mEntry } from "../../src/hypervisor/p2m-type.ts";
import type { PagingBase } from "../../src/hypervisor/paging-base.ts";
import type { PagingInterface } from "../../src/hypervisor/paging-interface.ts";
import { NO_MFN } from "../../src/memory/units.ts";
import { newSpace, store } from "./handmade.ts";

const DATA = 0x4000_0000;

/** The correct one, but that it says that nothing was there before. */
class InNameOnly extends P2mChanges {
  readonly #paging: PagingInterface;
  readonly #own: PagingBase;

  constructor(base: PagingBase, paging: PagingInterface) {
    super(base, paging);
    this.#own = base;
    this.#paging = paging;
  }

  override retype(gfn: number, entry: number, type: number): void {
    this.#paging.beginP2mWrite(gfn, NO_MFN);
    this.#own.p2m.writeEntry(gfn, frameInP2mEntry(entry), type);
    this.#paging.endP2mWrite(gfn);
  }
}

interface Shared {
  readonly root: number;
  readonly page: number;
}

/** A vCPU writes to a page that becomes read-only. */
export default defineScenario({
  name: "m24-read-only-in-name",
  about: "a vCPU writes to a page while it becomes read-only",
  slide: "types of pages: spec 12.2, 12.5",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 32 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    return { root: space.root, page: space.page(DATA) };
  },

  programs: [
    function write(cpu) {
      store(cpu, DATA, 2);
    },
  ],

  toolstack(toolstack, { page }) {
    toolstack.setPageType(page, "read-only");
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M24",
  title: "a page becomes read-only, and its writable mappings stay",
  oracles: ["INV", "XLATE"],
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
    store(cpu, DATA, 1);
  },
  mutateToolstack(domain) {
    Object.assign(domain.types, { changes: new InNameOnly(domain.base, domain.paging) });
    return domain;
  },
});
