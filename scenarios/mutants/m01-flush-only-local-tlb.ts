/**
 * M01: after write access to a page was revoked, only the TLB of the vCPU that did it is flushed.
 *
 * History: Xen c68890bfaa (2005); KVM, "flush remote TLBs when reducing permissions" (before kvm-28). Write access to a
 * frame that becomes a pagetable is taken from the shadows, but another processor still has a writable translation and
 * edits the table without the hypervisor's knowledge. In Xen the flush of the others had been written, and was compiled
 * out with the remark that guests with several processors would need it.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { Revocation, Revoked } from "../../src/hypervisor/shadow/revoke.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { FlushMailbox } from "../../src/machine/flush.ts";
import type { Mfn } from "../../src/memory/units.ts";
import type { Vcpu } from "../../src/machine/vcpu.ts";
import { load, newSpace, store } from "./handmade.ts";

const DATA = 0x4000_0000;
/** Between the two stores: together as long as the other vCPU's fault, up to where it has flushed. */
const LOADS = 24;

/** Answers the flush that a revocation owes with one of this vCPU alone. */
class LocalMailbox extends FlushMailbox {
  isOwedByRevocation = false;

  constructor(vcpu: Vcpu) {
    super(vcpu.memory, vcpu.layout, vcpu.id, vcpu, vcpu.waiter, vcpu.counters);
  }

  override flushAll(): void {
    if (this.isOwedByRevocation) this.flushLocal();
    else super.flushAll();
    this.isOwedByRevocation = false;
  }
}

class NotedRevocation extends Revocation {
  readonly #mailbox: LocalMailbox;

  constructor(shadow: Shadow, mailbox: LocalMailbox) {
    super(shadow);
    this.#mailbox = mailbox;
  }

  override revokeWriteAccess(frame: Mfn, level: number, low: number, high: number): number {
    const result = super.revokeWriteAccess(frame, level, low, high);
    if (result === Revoked.flush) this.#mailbox.isOwedByRevocation = true;
    return result;
  }
}

interface Shared {
  readonly root: number;
  readonly window: number;
}

/** One vCPU makes a page its leaf table; another has it mapped for writing, and clears an entry in it. */
export default defineScenario({
  name: "m01-flush-only-local-tlb",
  about: "a page becomes a pagetable while another vCPU writes to it",
  slide: "revoking write access: spec 6; flushes: spec 14.7",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
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
      store(cpu, window + 8, 0);
      for (let times = 0; times < LOADS; times++) load(cpu, window);
      store(cpu, window, 0);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M01",
  title: "only the local TLB is flushed after write access was revoked",
  oracles: ["INV", "XLATE"],
  prologue(cpu, { root, window }) {
    cpu.enablePaging(root);
    store(cpu, window + 8, 0);
  },
  mutate({ vcpu, shadow }) {
    const mailbox = new LocalMailbox(vcpu);
    Object.assign(vcpu, { mailbox });
    Object.assign(shadow, { revocation: new NotedRevocation(shadow, mailbox) });
  },
});
