/**
 * M04: a harvest takes write access from leaves, and flushes after it has given up the lock.
 *
 * History: KVM 6dbf79e7164e (2012). Dirty logging cleared W under the lock, and flushed later. Another processor, which
 * made the same page a pagetable meanwhile, found W clear already: nothing changed, so it owed no flush. A third wrote to
 * the pagetable through its TLB.
 *
 * Umbra notes of each page when its last writable mapping went, and whoever makes it a pagetable flushes who may still
 * have one, so that the late flush alone does no harm here. The mutant leaves no note either, as Xen and KVM do.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { LogDirtyControl } from "../../src/hypervisor/log-dirty-control.ts";
import type { LogDirtyParts } from "../../src/hypervisor/log-dirty-control.ts";
import { refersToFrame } from "../../src/hypervisor/shadow/shadow-entry.ts";
import { LEAF_TYPES } from "../../src/hypervisor/shadow/shadow-type.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { load, newSpace, store } from "./handmade.ts";

const DATA = 0x4000_0000;
const RAM_PAGES = 32;
const WRITABLE = 2;
const ENTRIES = 512;
/** Together about as long as what the others do. */
const STORES = 64;

/** Clears W of all leaves in one hold of the lock, with the flush behind it. */
class LateFlush extends LogDirtyControl {
  readonly #shadow: Shadow;

  constructor(parts: LogDirtyParts, shadow: Shadow) {
    super(parts);
    this.#shadow = shadow;
  }

  override takeRights(): void {
    const { lock, hash } = this.#shadow;
    lock.acquire(LockSite.domctl);
    hash.visitAll(LEAF_TYPES, this);
    lock.release();
    this.#shadow.flushAll();
  }

  visit(shadow: Mfn): boolean {
    const { memory, frames, entries } = this.#shadow;
    for (let slot = 0; slot < ENTRIES; slot++) {
      const cell = (shadow << 10) | (slot << 1);
      const low = memory.loadEntry(cell);
      const { high } = memory;
      if ((low & WRITABLE) === 0 || !refersToFrame(low, high)) continue;
      entries.setLeaf(cell, low & ~WRITABLE, high);
      frames.setTimestamp(this.#shadow.frameIn(low, high), 0);
    }
    return false;
  }
}

interface Shared {
  readonly root: number;
  readonly window: number;
}

/** One vCPU makes a page its leaf table, another has it mapped for writing, and a harvest comes in between. */
export default defineScenario({
  name: "m04-flush-after-unlocking",
  about: "a page becomes a pagetable just when a harvest has taken write access from it",
  slide: "log-dirty mode: spec 11.6; flushes: spec 14.7",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: RAM_PAGES, poolPages: 300 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    return { root: space.root, window: space.windowAt(space.tableOf(DATA, 1)) };
  },

  programs: [
    function walk(cpu) {
      load(cpu, DATA);
    },
    function write(cpu, { window }) {
      for (let times = 0; times < STORES; times++) store(cpu, window + 8, 0);
    },
  ],

  toolstack(toolstack) {
    toolstack.harvestDirty(new Int32Array(RAM_PAGES / 32), false);
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M04",
  title: "what a harvest has protected is flushed after the lock was given up",
  oracles: ["INV"],
  logsDirty: true,
  prologue(cpu, { root, window }) {
    cpu.enablePaging(root);
    store(cpu, window + 8, 0);
  },
  mutateToolstack(domain) {
    return Object.assign(domain, { dirty: new LateFlush(domain.dirty.parts, domain.shadow) });
  },
});
