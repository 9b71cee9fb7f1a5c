import { EntryFlag, defineScenario, hex } from "umbra";

const PAGE = 4096;
const DATA = 0x0840_0000;
/** What a kernel stores for a page that it has swapped out: not present, and where the page is now. */
const SWAP_SLOT = 512;
const FLAGS = EntryFlag.present | EntryFlag.writable | EntryFlag.user;

/**
 * No vCPU shares a page, a table or a kernel with another, so whatever keeps two of them from working at the same time is
 * the hypervisor's. Each writes entries, touches what they map, and takes them away again, at any number of vCPUs. With
 * `swap` it leaves the places of swapped pages behind, as a kernel does that is short of memory, instead of zeros, of which
 * two in a row look like the end of a table.
 */
export default defineScenario({
  name: "disjoint-spaces",
  about: "vCPUs map, touch and unmap pages of their own, each in tables that nobody else uses",
  slide: "what one lock for all shadows costs: spec 14.11; shadows on demand: 4.6, emulated writes: 5",
  guests: ["4level", "pae", "2level"],
  vcpus: { min: 1, max: 1024, default: 4 },
  options: { pages: 16, touches: 4, swap: false },
  machine: (vcpus, { pages }) => ({ ramPages: 256 + vcpus * (pages + 8) }),

  boot(loader, { pages }) {
    if (pages < 1 || pages > 256) throw new RangeError("pages wants a number from 1 to 256");
    const tables = loader.tables();
    const roots: number[] = [];
    const frames: number[] = [];
    for (let vcpu = 0; vcpu < loader.vcpus; vcpu++) {
      const root = tables.newRoot();
      // Its own last level, behind the pages that it maps.
      const entries = tables.entryAddress(root, DATA, 1);
      tables.mapPage(root, DATA + pages * PAGE, Math.floor(entries / PAGE), { flags: FLAGS });
      roots.push(root);
      frames.push(loader.consecutivePages(pages));
    }
    return { roots, frames, slot: tables.entryAddress(roots[0] ?? 0, DATA, 1) % PAGE };
  },

  programs: [
    function mapper(cpu, { roots, frames, slot }, { pages, touches, swap }) {
      const table = DATA + pages * PAGE + slot;
      const first = frames[cpu.id] ?? 0;
      cpu.enablePaging(roots[cpu.id] ?? 0);
      const setEntry = (page: number, entry: number): void => {
        if (cpu.format === "2level") cpu.store32(table + 4 * page, entry);
        else cpu.store64(table + 8 * page, entry, 0);
      };
      for (let round = 1; cpu.running(); round++) {
        for (let page = 0; page < pages; page++) setEntry(page, (first + page) * PAGE + FLAGS);
        for (let page = 0; page < pages; page++) cpu.store32(DATA + page * PAGE, round + page);
        for (let touch = 0; touch < touches * pages; touch++) {
          const page = cpu.random(pages);
          const seen = cpu.load32(DATA + page * PAGE);
          if (seen !== round + page)
            cpu.violation(
              "memory",
              `page ${String(page)} holds ${hex(seen)} instead of ${hex(round + page)}`,
            );
        }
        for (let page = 0; page < pages; page++) {
          setEntry(page, swap ? (page + 1) * SWAP_SLOT : 0);
          cpu.invlpg(DATA + page * PAGE);
        }
      }
    },
  ],

  small: { vcpus: 2, options: { pages: 1, touches: 1 }, machine: { ramPages: 600 } },
});
