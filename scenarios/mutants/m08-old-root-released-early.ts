/**
 * M08: the old root is released before the new one is loaded.
 *
 * History: XSA-438, Xen fb0ff49fe9 (2023); cf5a448b88 (2006) and 53a11bbde4 (2008) before it. When a PV guest switches
 * roots the shadow of the old one loses its reference under the lock, but hardware goes on walking it until CR3 is
 * loaded, after the lock was released. Another processor that is short of shadow memory takes it and uses its pages.
 * To pin it again, which the code had done for ten years, was not enough: that protects nothing once the lock is free.
 *
 * A vCPU of Umbra executes nothing between the two, so on its own the mistake would never be seen. But hardware may walk
 * whenever it likes, for a prefetch or because a PV hypervisor runs on the same tables: the mutant lets it do so there.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { ShadowPaging } from "../../src/hypervisor/shadow/shadow-paging.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { HardwareWalk } from "../../src/machine/hardware-walk.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { SHORT_OF_PAGES, load, newSpace } from "./handmade.ts";

const DATA = 0x4000_0000;
/** Its tables are all its own. */
const FAR = 2 ** 40;

/** Hardware gets the new root after the lock has been released, and walks once before. */
class LateLoad extends ShadowPaging {
  readonly #walk: HardwareWalk;

  constructor(shadow: Shadow) {
    super(shadow);
    this.#walk = new HardwareWalk(shadow.vcpu);
  }

  override writeCr3(low: number, high: number): number {
    const { lock, memory, vcpu } = this.shadow;
    const register = vcpu.area + VcpuCell.hardwareRoot;
    const old = memory.loadWord(register);
    lock.acquire(LockSite.update_cr3);
    const status = super.writeCr3(low, high);
    const root = memory.loadWord(register);
    memory.storeWord(register, old);
    lock.release();
    this.#walk.translate(DATA, 0, 0);
    memory.storeWord(register, root);
    vcpu.mailbox.flushLocal();
    return status;
  }
}

interface Shared {
  readonly root: number;
  readonly other: number;
}

/** One vCPU leaves an address space that nobody else uses; another needs pages for shadows. */
export default defineScenario({
  name: "m08-old-root-released-early",
  about: "a vCPU switches roots while another uses freed shadow pages again",
  slide: "installing roots: spec 9.2",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const first = newSpace(loader);
    const second = newSpace(loader);
    first.page(DATA);
    second.page(DATA);
    second.page(FAR);
    return { root: first.root, other: second.root };
  },

  programs: [
    function leave(cpu, { other }) {
      cpu.loadRoot(other);
    },
    function fault(cpu) {
      load(cpu, FAR);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M08",
  title: "the old root is released before the new one is loaded",
  oracles: ["UAF"],
  machine: SHORT_OF_PAGES,
  prologue(cpu, { root, other }) {
    cpu.enablePaging(cpu.id === 0 ? root : other);
    load(cpu, DATA);
  },
  mutate(hosted) {
    const paging = new LateLoad(hosted.shadow);
    Object.assign(hosted, { paging });
    Object.assign(hosted.vcpu, { exits: paging });
  },
});
