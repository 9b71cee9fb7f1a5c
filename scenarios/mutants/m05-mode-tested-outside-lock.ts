/**
 * M05: whether writes are logged is asked before the lock is taken, and not again.
 *
 * History: Xen 41ec7cd7be (2007), and before it be8dc15376 (2005). Somebody who is about to mark a page finds that there is
 * a bitmap; the toolstack ends logging and frees the bitmap; then the lock is free, and the mark goes into memory that
 * belongs to nobody, or to somebody else.
 *
 * Most marks are made in a hold of the lock that began before. Those of a walk without the lock are not: it sets A or D in
 * the guest's tables, and marks their pages afterwards.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { LogDirty } from "../../src/hypervisor/log-dirty.ts";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import { P2mPages } from "../../src/hypervisor/shadow/p2m-pages.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { mfn } from "../../src/memory/units.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { READ_WRITE, load, newSpace, store } from "./handmade.ts";

const DATA = 0x4000_0000;
/** Present and writable, but not accessed: a walk has to set A. */
const UNTOUCHED = READ_WRITE & ~0x20;

/** Asks for the bitmap where it asks whether there is one. */
class HastyLog extends LogDirty {
  override markFrame(frame: Mfn): void {
    const { domain, lock, frames } = this.base;
    const top = mfn(domain.read(DomainCell.dirtyTree));
    if (!this.isOn() || top === 0) return;
    lock.acquire(LockSite.log_dirty);
    const gfn = frames.back(frame);
    if (this.trees.setBit(this.trees.makeLeaf(top, gfn), gfn)) domain.increase(DomainCell.dirtyCount, 1);
    lock.release();
  }
}

interface Shared {
  readonly root: number;
}

/** A walk sets A in a table, whose page is dirty by that, while the toolstack ends logging. */
export default defineScenario({
  name: "m05-mode-tested-outside-lock",
  about: "a page is marked dirty while logging ends",
  slide: "log-dirty mode: spec 11.5; races: 14.9 item 11",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 32, poolPages: 160 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    space.page(DATA + 4096, UNTOUCHED);
    return { root: space.root };
  },

  programs: [
    function touch(cpu) {
      load(cpu, DATA + 4096);
    },
  ],

  toolstack(toolstack) {
    toolstack.disableLogDirty();
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M05",
  title: "the log-dirty mode is tested before the lock is taken, not after",
  oracles: ["RACE", "UAF"],
  machine: { switches: { ...PRESETS.talk, "lock-free-walk": true } },
  logsDirty: true,
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
    store(cpu, DATA, 1);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { logDirty: new HastyLog(shadow, new P2mPages(shadow)) });
  },
});
