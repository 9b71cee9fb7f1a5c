/**
 * M17: after reclaiming shadow pages only the vCPU whose root was cut is flushed.
 *
 * History: Xen 4da59282e0 (2008) and 734a37d877 (2006). Reclaim cuts the trees that processors run on. The set of those to
 * flush was made of the vCPUs whose root slot named the tree: one that is shared by several was flushed from the TLB of
 * the first only. Earlier still, nobody was flushed at all.
 *
 * What the others keep is not wrong as long as the guest's own tables have not changed. When they have, the guest executes
 * INVLPG; and where the branch is cut, INVLPG takes it that no TLB can have anything.
 */
import { defineScenario, entryHigh, entryLow } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { Unshadow } from "../../src/hypervisor/shadow/unshadow.ts";
import { FlushMailbox } from "../../src/machine/flush.ts";
import type { Vcpu } from "../../src/machine/vcpu.ts";
import type { Cell, Mfn } from "../../src/memory/units.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { Doorbell, VcpuCell, VcpuState, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { ring } from "../../src/memory/wait.ts";
import { READ_WRITE, SHORT_OF_PAGES, load, newSpace, storeEntryAt } from "./handmade.ts";

const DATA = 0x4000_0000;
/** In the level 2 table of the other root: each fault there takes one page, and wants to find three. */
const NEAR = DATA + 0x20_0000;
const NEXT = NEAR + 0x20_0000;
/** Between the fill and the invalidation: time for a reclaim. */
const LOADS = 24;

/** Flushes one vCPU instead of all when it is told which. */
class NarrowMailbox extends FlushMailbox {
  readonly #vcpu: Vcpu;
  /** Number of the vCPU, -1 for all. */
  only = -1;

  constructor(vcpu: Vcpu) {
    super(vcpu.memory, vcpu.layout, vcpu.id, vcpu, vcpu.waiter, vcpu.counters);
    this.#vcpu = vcpu;
  }

  override flushAll(): void {
    const { only } = this;
    this.only = -1;
    if (only < 0) super.flushAll();
    else if (only === this.#vcpu.id) this.flushLocal();
    else this.#flush(vcpuArea(this.#vcpu.layout, vcpuId(only)));
  }

  #flush(target: Cell): void {
    const { memory, waiter } = this.#vcpu;
    const request = memory.addWord(target + VcpuCell.flushRequested, 1) + 1;
    ring(memory, target, Doorbell.flush);
    let acknowledged = memory.loadWord(target + VcpuCell.flushAcknowledged);
    while (
      ((acknowledged - request) | 0) < 0 &&
      memory.loadWord(target + VcpuCell.state) === VcpuState.running
    ) {
      this.serve();
      waiter.waitWhile(target + VcpuCell.flushAcknowledged, acknowledged);
      acknowledged = memory.loadWord(target + VcpuCell.flushAcknowledged);
    }
  }
}

/** Notes whose root slot names the root that is cut: the first vCPU's that does. */
class SlotsOwner extends Unshadow {
  readonly #shadow: Shadow;
  readonly #mailbox: NarrowMailbox;

  constructor(shadow: Shadow, mailbox: NarrowMailbox) {
    super(shadow);
    this.#shadow = shadow;
    this.#mailbox = mailbox;
  }

  override unhook(root: Mfn): void {
    const { memory, layout, config } = this.#shadow;
    let owner = 0;
    while (
      owner < config.vcpus - 1 &&
      memory.loadGuarded(vcpuArea(layout, vcpuId(owner)) + VcpuCell.roots) !== root
    )
      owner++;
    this.#mailbox.only = owner;
    super.unhook(root);
  }
}

interface Shared {
  readonly root: number;
  readonly other: number;
  readonly entry: number;
  readonly spare: number;
}

/** Two vCPUs share a root. The tree is cut for a third, while the second changes a page's entry and invalidates it. */
export default defineScenario({
  name: "m17-reclaim-flushes-one",
  about: "a tree that two vCPUs share is cut for a third, while one of the two remaps a page",
  slide: "reclaim: spec 3.7; INVLPG: spec 10.1",
  guests: ["4level"],
  vcpus: { min: 3, max: 3, default: 3 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    const other = newSpace(loader);
    other.page(DATA);
    other.page(NEAR);
    other.page(NEXT);
    const entry = space.windowOn(DATA, 1);
    return { root: space.root, other: other.root, entry, spare: loader.page() };
  },

  programs: [
    function idle() {
      // What matters is that its root slot names the tree first.
    },
    function remap(cpu, { entry, spare }) {
      load(cpu, DATA);
      storeEntryAt(cpu, entry, entryLow(spare, READ_WRITE), entryHigh(spare));
      for (let times = 0; times < LOADS; times++) load(cpu, DATA);
      cpu.invlpg(DATA);
      load(cpu, DATA);
    },
    function fault(cpu) {
      load(cpu, NEAR);
      load(cpu, NEXT);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M17",
  title: "after a reclaim only the vCPU whose root was cut is flushed",
  oracles: ["XLATE", "UAF"],
  // First in, first out: what is reclaimed is not used at once, so that no flush comes of its reuse.
  machine: { ...SHORT_OF_PAGES, reuse: "first-in-first-out" },
  freePoolPages: 3,
  prologue(cpu, { root, other, entry }) {
    cpu.enablePaging(cpu.id === 2 ? other : root);
    load(cpu, DATA);
    if (cpu.id === 1) load(cpu, entry);
  },
  mutate({ vcpu, shadow }) {
    const mailbox = new NarrowMailbox(vcpu);
    Object.assign(vcpu, { mailbox });
    Object.assign(shadow, { unshadow: new SlotsOwner(shadow, mailbox) });
  },
});
