/**
 * M15: the flush that makes a page safe to become a pagetable comes before the change that forbids new mappings of it.
 *
 * History: XSA-401, Xen 8cc5036bc3 (2022); XSA-408 (a9949efb28) repaired the repair. A page that is to become a pagetable
 * has no writable mapping at the moment: it is flushed from the TLBs that may still have one, then its type is changed by
 * compare-and-swap. Between the two another processor maps it for writing, touches it and takes the mapping away again.
 * The count is back at zero, the swap succeeds, and that processor's TLB lets it write to a pagetable: A-B-A.
 *
 * Umbra revokes, flushes and promotes in one hold of the paging lock. The mutant flushes former writers in a hold of its
 * own, before the fault is handled, and trusts that nothing has changed since.
 */
import { defineScenario, entryHigh, entryLow } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { FaultHandler } from "../../src/hypervisor/shadow/fault.ts";
import { Revocation, Revoked } from "../../src/hypervisor/shadow/revoke.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { NO_MFN } from "../../src/memory/units.ts";
import { READ_WRITE, load, newSpace, store, storeEntryAt } from "./handmade.ts";

const DATA = 0x4000_0000;
const ALIAS = 0x8000_0000;

/** Flushes who may still write to the tables of the walk, then handles the fault. */
class EarlyFlush extends FaultHandler {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    super(shadow);
    this.#shadow = shadow;
  }

  override handle(errorCode: number): number {
    const { lock, guest, vcpu } = this.#shadow;
    lock.acquire(LockSite.page_fault);
    guest.observe(vcpu.faultLow, vcpu.faultHigh, 0, vcpu.alignmentCheck);
    for (const table of guest.observer.tableMfn) this.#flushWriters(this.#shadow.frameOrNone(table));
    lock.release();
    return super.handle(errorCode);
  }

  #flushWriters(table: Mfn): void {
    const { frames, pages, vcpu } = this.#shadow;
    if (table === NO_MFN || pages.isPagetable(table) || frames.typecount(table) !== 0) return;
    const since = frames.timestamp(table);
    if (since !== 0) vcpu.mailbox.flushWhere(since, true);
  }
}

/** What has no writable mapping now was flushed before. */
class Trusting extends Revocation {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    super(shadow);
    this.#shadow = shadow;
  }

  override revokeWriteAccess(frame: Mfn, level: number, low: number, high: number): number {
    if (this.#shadow.frames.typecount(frame) === 0) return Revoked.nothing;
    return super.revokeWriteAccess(frame, level, low, high);
  }
}

interface Shared {
  readonly root: number;
  readonly table: number;
  /** Where the entry of `ALIAS` can be stored to. */
  readonly entry: number;
}

/** One vCPU makes a page its leaf table; another maps the page for writing, touches it and unmaps it. */
export default defineScenario({
  name: "m15-flush-before-promotion",
  about: "a page becomes a pagetable while another vCPU maps it, writes to it and takes the mapping away",
  slide: "revoking write access: spec 6; former writers: spec 20.2",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    return { root: space.root, table: space.tableOf(DATA, 1), entry: space.windowOn(ALIAS, 1) };
  },

  programs: [
    function walk(cpu) {
      load(cpu, DATA);
    },
    function borrow(cpu, { table, entry }) {
      storeEntryAt(cpu, entry, entryLow(table, READ_WRITE), entryHigh(table));
      store(cpu, ALIAS + 8, 0);
      storeEntryAt(cpu, entry, 0, 0);
      // The guest has not flushed, so it may still write there; but the hypervisor has to hear of it.
      store(cpu, ALIAS + 8, 1);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M15",
  title: "the flush comes before the change that forbids new writable mappings",
  oracles: ["INV"],
  prologue(cpu, { root, entry }) {
    cpu.enablePaging(root);
    load(cpu, entry);
    load(cpu, ALIAS);
  },
  mutate({ shadow }) {
    Object.assign(shadow, { fault: new EarlyFlush(shadow), revocation: new Trusting(shadow) });
  },
});
