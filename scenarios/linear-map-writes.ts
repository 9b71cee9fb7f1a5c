import {
  Kernel,
  Stamps,
  defineScenario,
  entryHigh,
  entryLow,
  EntryFlag,
  ledgerWords,
  lostStamps,
} from "umbra";

const PAGE = 4096;
const OWN = 0x0d00_0000;
const COMMON = 0x2d00_0000;
const LEAF = EntryFlag.present | EntryFlag.writable | EntryFlag.user;
const SPACE_KEY = 5;

/**
 * A few frames under many addresses. Every mapping is one store through the linear map, after which the address must show
 * that frame and no other; tables are taken away and made anew beneath the linear map's own translations.
 */
export default defineScenario({
  name: "linear-map-writes",
  about: "a kernel that sees its tables through themselves rewrites them all the time",
  slide:
    "write access by guess of Windows's linear maps: spec 6.3 rows h_1 to h_3; upper entries through the map",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { flush: "invlpg", frames: 16, pages: 48, oddStores: true },
  choices: { flush: ["invlpg", "reload"] },
  machine: (vcpus, { frames }) => ({ ramPages: 400 + frames + 96 * vcpus }),

  boot(loader, { flush, frames, pages }) {
    const firstFrame = loader.consecutivePages(frames);
    const kernel = loader.kernel({
      personality: "linear-map",
      flush,
      spacesMax: 2 * loader.vcpus + 2,
      dataWords: ledgerWords(frames),
      areas: [
        { start: OWN, pages, backing: "manual" },
        { start: COMMON, pages: pages * loader.vcpus, backing: "manual" },
      ],
    });
    return { kernel, firstFrame };
  },

  programs: [
    function mapper(cpu, { kernel: image, firstFrame }, { frames, pages, oddStores }) {
      const kernel = Kernel.start(cpu, image);
      const stamps = new Stamps(cpu, kernel.dataAddress(0), frames);
      const common = COMMON + cpu.id * pages * PAGE;
      const ownSpace = kernel.spaces.createSpace();
      const commonSpace = kernel.enterSharedSpace(SPACE_KEY);
      const shown = new Int32Array(2 * pages);
      kernel.meet();
      while (cpu.running()) {
        const isOwn = cpu.oneIn(2);
        const start = isOwn ? OWN : common;
        kernel.spaces.switchTo(isOwn ? ownSpace : commonSpace);
        for (let step = 0; step < 16; step++) {
          const page = cpu.random(pages);
          const place = isOwn ? page : pages + page;
          const address = start + page * PAGE;
          if (cpu.oneIn(3) || shown[place] === 0) {
            const frame = cpu.random(frames);
            kernel.memory.putLeaf(address, entryLow(firstFrame + frame, LEAF), entryHigh(firstFrame + frame));
            shown[place] = frame + 1;
          }
          if (oddStores && cpu.oneIn(8)) kernel.memory.rewriteOddly(address);
          const tag = (shown[place] ?? 0) - 1;
          if (cpu.oneIn(2)) stamps.stampPage(address, tag);
          stamps.checkPage(address, tag);
        }
        if (isOwn && cpu.oneIn(4)) {
          kernel.memory.unmapWithTables(kernel.area(0));
          shown.fill(0, 0, pages);
        }
      }
    },
  ],

  holds(machine, { kernel, firstFrame }, { frames }) {
    return lostStamps(machine, { firstFrame, pages: frames, ledger: kernel.data });
  },

  small: { vcpus: 2, options: { frames: 1, pages: 1, oddStores: false }, machine: { ramPages: 500 } },
});
