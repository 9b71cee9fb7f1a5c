/**
 * M19: one way to change the p2m does not ask whether the domain has been taken apart.
 *
 * History: Xen 833cce002f and 3e64b93244 (2009), e4a1897ed1 (2010), 6ee2f5693f (2008), 392a8c76b8 (2007): one toolstack
 * process destroyed a domain, with its hash table and its pool, while another, or a device model, went on mapping pages
 * or edited the p2m. The flag has to be tested under the lock, and by every way in. The series around XSA-410
 * (ff600a8cf8, f50a2c0e1d; 2022) adds that a dying domain gets nothing new.
 *
 * Here the page that is added after the end belongs to nobody, and is never freed.
 */
import { defineScenario } from "umbra";
import { defineMutant } from "../../src/engines/explore/mutants/mutant.ts";
import { DomainControl } from "../../src/hypervisor/domain-control.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { P2mType } from "../../src/hypervisor/p2m-type.ts";
import { FrameUse, POISON } from "../../src/memory/frame-table.ts";
import { NO_MFN, PAGE_WORDS } from "../../src/memory/units.ts";
import { newSpace } from "./handmade.ts";

const TIMES = 4;

/** The correct one, but for its first question. */
class ForgetfulControl extends DomainControl {
  override addPage(gfn: number): boolean {
    const { p2m, heap, frames, memory } = this.shadow;
    this.p2mLock.acquire(LockSite.p2m_write);
    let added = false;
    if (gfn >= 0 && gfn < p2m.ramPages && p2m.frameOf(gfn) === NO_MFN) {
      this.paging.beginP2mWrite(gfn, NO_MFN);
      const frame = heap.allocate(FrameUse.guest);
      if (frame !== NO_MFN) {
        memory.fillWords(frame * PAGE_WORDS, PAGE_WORDS, POISON);
        frames.setCount(frame, 1);
        frames.setTypecount(frame, 0);
        frames.setShadowFlags(frame, 0);
        frames.setBack(frame, gfn);
        p2m.writeEntry(gfn, frame, P2mType.ramRw);
        added = true;
      }
      this.paging.endP2mWrite(gfn);
    }
    this.p2mLock.release();
    return added;
  }
}

interface Shared {
  readonly root: number;
  readonly page: number;
}

/** One toolstack process adds a page while another takes the domain apart. */
export default defineScenario({
  name: "m19-page-for-a-dead-domain",
  about: "a page is added to a domain while somebody else takes it apart",
  slide: "the domain's end: spec 19",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 16 },
  options: {},

  boot(loader): Shared {
    return { root: newSpace(loader).root, page: loader.page() };
  },

  programs: [
    function nothing() {
      // Its thread goes on as the process that takes the domain apart.
    },
  ],

  toolstack(toolstack, { page }) {
    for (let times = 0; times < TIMES; times++) toolstack.addPage(page);
  },
});

/** The mutant. */
export const mutant = defineMutant<Shared>({
  id: "M19",
  title: "a page can be added to a domain that has been taken apart",
  oracles: ["REF", "UAF"],
  endsDomain: true,
  freePoolPages: 0,
  prologue(cpu, { root }) {
    cpu.enablePaging(root);
  },
  mutateToolstack(domain) {
    return new ForgetfulControl(domain.shadow, domain.paging, domain.p2mLock);
  },
});
