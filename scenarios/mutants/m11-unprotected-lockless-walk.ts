/**
 * M11: the lock-free walk of INVLPG follows pointers to tables that may be gone.
 *
 * History: Xen 917f2a4a47 (2006). INVLPG followed the upper levels of the shadows by plain dereference while another
 * processor tore them down: hosts crashed when SMP Linux guests mapped and unmapped much. KVM's lockless walks had to be
 * protected by RCU (c2a2ac2b563c), later by disabled interrupts, so that the flush before reuse waits for them
 * (c142786c6291).
 *
 * That wait is what protects Umbra's: a vCPU acknowledges flushes between guest operations, and no freed page is used
 * again before all have. The mutant walks with interrupts enabled, so to say: it serves flushes between two levels, and
 * goes on from the pointer it has.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { ShadowPaging } from "../../src/hypervisor/shadow/shadow-paging.ts";
import { isFakeLeafType } from "../../src/hypervisor/shadow/shadow-type.ts";
import { mfn } from "../../src/memory/units.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { SHORT_OF_PAGES, load, newSpace } from "./handmade.ts";

const PRESENT = 1;
const DATA = 0x4000_0000;
/** Its tables are all its own. */
const FAR = 2 ** 40;
const ROUNDS = 24;

/** Of 4-level shadows, which are all that the scenario has. */
class InterruptedWalk extends ShadowPaging {
  override invlpg(low: number, high: number): boolean {
    const { vcpu, memory, frames } = this.shadow;
    const root = memory.loadWord(vcpu.area + VcpuCell.hardwareRoot);
    const level3 = this.#follow(root, (high >>> 7) & 511);
    const level2 = this.#follow(level3, ((low >>> 30) | (high << 2)) & 511);
    const leaf = this.#follow(level2, (low >>> 21) & 511);
    if (leaf === 0) return false;
    if (!isFakeLeafType(frames.type(mfn(leaf)))) return true;
    vcpu.mailbox.flushLocal();
    return false;
  }

  #follow(table: number, index: number): number {
    const { vcpu, memory, layout } = this.shadow;
    if (table <= 0 || table >= layout.sizes.frames) return 0;
    const low = memory.loadEntry((table << 10) | (index << 1));
    const { high } = memory;
    vcpu.mailbox.serve();
    return (low & PRESENT) === 0 ? 0 : this.shadow.frameIn(low, high);
  }
}

interface Shared {
  readonly root: number;
}

/** One vCPU's fault takes all other tables away and uses their pages; another executes INVLPG. */
export default defineScenario({
  name: "m11-unprotected-lockless-walk",
  about: "a fault reclaims every table and uses the pages again while another vCPU executes INVLPG",
  slide: "INVLPG: spec 10.1; reuse of shadow pages: spec 3.8",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 64 },
  options: {},

  boot(loader): Shared {
    const space = newSpace(loader);
    space.page(DATA);
    space.page(FAR);
    return { root: space.root };
  },

  programs: [
    function fault(cpu) {
      load(cpu, FAR);
    },
    function invalidate(cpu) {
      for (let round = 0; round < ROUNDS; round++) cpu.invlpg(DATA);
    },
  ],
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M11",
  title: "the lock-free walk of INVLPG follows pointers to tables that may be gone",
  oracles: ["UAF", "RACE"],
  machine: SHORT_OF_PAGES,
  freePoolPages: 2,
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
    load(cpu, DATA);
  },
  mutate(hosted) {
    const paging = new InterruptedWalk(hosted.shadow);
    Object.assign(hosted, { paging });
    Object.assign(hosted.vcpu, { exits: paging });
  },
});
