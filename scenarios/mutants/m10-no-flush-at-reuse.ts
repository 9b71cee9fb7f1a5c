/**
 * M10: a freed shadow page is used again before the flush that it waits for.
 *
 * History: freed shadow pages keep their contents and a time stamp, and whoever may still walk them is flushed before they
 * are handed out again (Xen's shadow_alloc; KVM c142786c6291 for its lockless walks). XSA-480 (4bc2e5333a, 2026) is the
 * same for EPT: flushes were put off until the lock's release, while the tables' pages went straight back to their pool.
 *
 * Taking out the flush at reuse alone changes nothing here: whoever cuts a branch that is in use flushes in the same hold
 * of the lock. So the mutant is XSA-480: what the pool has to flush, when it reclaims and when it hands a page out, is put
 * off until the lock is released. Between the two, a paging-structure cache leads into a page that is another table now.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import type { HostedVcpu } from "../../src/hypervisor/machine.ts";
import { Pool } from "../../src/hypervisor/shadow/pool.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { RecursiveLock } from "../../src/locks/lock.ts";
import { FlushMailbox } from "../../src/machine/flush.ts";
import type { Vcpu } from "../../src/machine/vcpu.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { SHORT_OF_PAGES, load, newSpace } from "./handmade.ts";

const DATA = 0x4000_0000;
const PAGE = 4096;
/** Its tables are all its own, and its leaf has the index of the second page of `DATA`. */
const FAR = 2 ** 40 + PAGE;
const ROUNDS = 64;

/** Remembers a flush instead of making it while it is told to. */
class LateMailbox extends FlushMailbox {
  isPutOff = false;
  #isOwed = false;

  constructor(vcpu: Vcpu) {
    super(vcpu.memory, vcpu.layout, vcpu.id, vcpu, vcpu.waiter, vcpu.counters);
  }

  override flushWhere(since: number, staleOnly: boolean): number {
    if (!this.isPutOff) return super.flushWhere(since, staleOnly);
    this.#isOwed = true;
    return 0;
  }

  flushOwed(): void {
    if (!this.#isOwed) return;
    this.#isOwed = false;
    super.flushWhere(0, false);
  }
}

class HastyPool extends Pool {
  readonly #mailbox: LateMailbox;

  constructor(shadow: Shadow, mailbox: LateMailbox) {
    super(shadow);
    this.#mailbox = mailbox;
  }

  override prealloc(type: number, count: number): boolean {
    this.#mailbox.isPutOff = true;
    const isThere = super.prealloc(type, count);
    this.#mailbox.isPutOff = false;
    return isThere;
  }

  override alloc(type: number, pages: number, back: number): Mfn {
    this.#mailbox.isPutOff = true;
    const shadow = super.alloc(type, pages, back);
    this.#mailbox.isPutOff = false;
    return shadow;
  }
}

/** Makes the flushes that are owed when it is released. */
class FlushingLock extends RecursiveLock {
  readonly #mailbox: LateMailbox;

  constructor({ vcpu, held, shadow }: HostedVcpu, mailbox: LateMailbox) {
    super(vcpu.memory, vcpu.layout, "paging", shadow.config.lockKind, vcpu, held);
    this.#mailbox = mailbox;
  }

  override release(): void {
    this.#mailbox.flushOwed();
    super.release();
  }
}

interface Shared {
  readonly root: number;
}

/** One vCPU's fault takes all other tables away and uses their pages; another goes through its structure cache. */
export default defineScenario({
  name: "m10-no-flush-at-reuse",
  about:
    "a fault reclaims every table and uses the pages again while another vCPU walks from its structure cache",
  slide: "reclaim and reuse of shadow pages: spec 3.6 to 3.9",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64, structureCacheEntries: 2, tlbSets: 1, tlbWays: 1 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    space.page(DATA + PAGE);
    space.page(FAR);
    return { root: space.root };
  },

  programs: [
    function fault(cpu) {
      load(cpu, FAR);
    },
    function walk(cpu) {
      for (let round = 0; round < ROUNDS; round++) load(cpu, DATA + PAGE * (round & 1));
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M10",
  title: "a freed shadow page is used again before the flush that it waits for",
  oracles: ["UAF", "INV"],
  machine: SHORT_OF_PAGES,
  freePoolPages: 2,
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
    load(cpu, DATA);
    load(cpu, DATA + PAGE);
  },
  mutate(hosted) {
    const { vcpu, shadow } = hosted;
    const mailbox = new LateMailbox(vcpu);
    Object.assign(vcpu, { mailbox });
    Object.assign(shadow, { pool: new HastyPool(shadow, mailbox), lock: new FlushingLock(hosted, mailbox) });
  },
});
