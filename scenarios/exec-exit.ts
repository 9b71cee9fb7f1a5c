import { Kernel, PAGE_SLOTS, PERSONALITIES, PrivateStamps, defineScenario } from "umbra";
import type { GuestFormat } from "umbra";

const PAGE = 4096;
const FIRST = 0x0040_0000;
const PAGES_PER_AREA = 2;

/** How far areas lie apart: so far that each needs a table of its own, and in a 64-bit guest some need three. */
const STRIDE: Readonly<Record<GuestFormat, number>> = {
  "2level": 0x0080_0000,
  pae: 0x0060_0000,
  "4level": 0x12_4080_0000,
};

/** Processes come and go so fast that a page is data here, a table there and data again within moments. */
export default defineScenario({
  name: "exec-exit",
  about: "processes with sparse memory begin and end, and their tables become other processes' data",
  slide: "unshadowing by refcount, zero writes and bogus contents: spec 3.13, 4.11, 5.5",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", areas: 12, hint: 0 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { areas }) => ({ ramPages: 384 + vcpus * (areas * (PAGES_PER_AREA + 3) + 48) }),

  boot(loader, { map, areas }) {
    const kernel = loader.kernel({
      personality: map,
      spacesMax: 2 * loader.vcpus + 2,
      areas: Array.from({ length: areas }, (_, area) => ({
        start: FIRST + area * STRIDE[loader.format],
        pages: PAGES_PER_AREA,
      })),
    });
    return { kernel };
  },

  programs: [
    function shell(cpu, { kernel: image }, { areas, hint }) {
      const kernel = Kernel.start(cpu, image);
      const stamps = new PrivateStamps(cpu, areas * PAGES_PER_AREA);
      let space = kernel.enterNewSpace();
      while (cpu.running()) {
        cpu.enterUserMode();
        const first = cpu.random(areas);
        for (let count = 0; count < areas; count++) {
          const area = (first + count) % areas;
          const page = area * PAGES_PER_AREA + cpu.random(PAGES_PER_AREA);
          const address = kernel.area(area).start + (page % PAGES_PER_AREA) * PAGE;
          const slot = cpu.random(PAGE_SLOTS);
          stamps.stampSlot(address, page, slot, space);
          stamps.checkSlot(address, page, slot, 8);
          stamps.checkSlot(address, page, cpu.random(PAGE_SLOTS), 1 << cpu.random(4));
        }
        cpu.enterKernelMode();
        if (cpu.oneIn(3)) {
          // Exec: the same address space, emptied, tables and all.
          for (let area = 0; area < areas; area++) kernel.memory.unmapWithTables(kernel.area(area));
        } else {
          if (hint > 0) cpu.announceDeath();
          kernel.exitSpace();
          if (cpu.oneIn(4)) kernel.pages.giveAll();
          space = kernel.enterNewSpace();
          if (space === 0) cpu.panic("guest", "there is no address space for another process");
        }
        stamps.forgetAll();
      }
      kernel.exitSpace();
    },
  ],

  small: { vcpus: 2, options: { areas: 1 }, machine: { ramPages: 600 } },
});
