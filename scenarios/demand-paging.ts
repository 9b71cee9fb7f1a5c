import { Kernel, PAGE_SLOTS, PERSONALITIES, PrivateStamps, Stamps, defineScenario, ledgerWords } from "umbra";

const PAGE = 4096;
const PRIVATE = 0x0800_0000;
const FILE = 0x4000_0000;
const LARGE = 0x6000_0000;
/** Pages of the large page that are stamped: some near each other, some far apart. */
const LARGE_STEPS = [0, 1, 2, 100, 101, 511];

/**
 * Each vCPU has a process of its own, and all of them map the same file and the same large page: frames are shared, tables
 * are not.
 */
export default defineScenario({
  name: "demand-paging",
  about: "processes touch memory for the first time, give it back, and touch it again",
  slide: "shadows on demand: spec 4.6, 4.8, prefetch of spec 8",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 2 },
  options: { map: "one-to-one", pages: 96, filePages: 32, splinter: true },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { pages, filePages }) => ({ ramPages: 2560 + filePages + vcpus * (pages + 64) }),

  boot(loader, { map, pages, filePages, splinter }) {
    const largePages = loader.tables().format.largePageBytes / PAGE;
    const large = loader.consecutivePages(largePages, largePages);
    const firstFrame = loader.consecutivePages(filePages);
    const kernel = loader.kernel({
      personality: map,
      largePages: splinter,
      dataWords: ledgerWords(filePages) + ledgerWords(LARGE_STEPS.length),
      areas: [
        { start: PRIVATE, pages },
        { start: FILE, pages: filePages, backing: "object", firstFrame },
        { start: LARGE, pages: largePages, backing: "object", firstFrame: large, isLarge: true },
      ],
    });
    return { kernel };
  },

  programs: [
    function process(cpu, shared, { pages, filePages }) {
      const kernel = Kernel.start(cpu, shared.kernel);
      const own = new PrivateStamps(cpu, pages);
      const file = new Stamps(cpu, kernel.dataAddress(0), filePages);
      const large = file.beside(kernel.dataAddress(ledgerWords(filePages)), LARGE_STEPS.length);
      const space = kernel.enterNewSpace();
      cpu.enterUserMode();
      while (cpu.running()) {
        for (let touch = 0; touch < 32; touch++) {
          const page = cpu.random(pages);
          const slot = cpu.random(PAGE_SLOTS);
          if (cpu.oneIn(2)) own.stampSlot(PRIVATE + page * PAGE, page, slot, space);
          else own.checkSlot(PRIVATE + page * PAGE, page, slot, 1 << cpu.random(4));
        }
        const shown = cpu.random(filePages);
        file.stampPage(FILE + shown * PAGE, shown);
        file.checkPage(FILE + shown * PAGE, shown);
        const step = cpu.random(LARGE_STEPS.length);
        const place = LARGE + (LARGE_STEPS[step] ?? 0) * PAGE;
        if (cpu.oneIn(2)) large.stampPage(place, step);
        large.checkPage(place, step);
        const first = cpu.random(pages);
        const given = Math.min(1 + cpu.random(16), pages - first);
        cpu.enterKernelMode();
        kernel.memory.unmapPages(PRIVATE + first * PAGE, given);
        kernel.memory.unmapPages(FILE + cpu.random(filePages) * PAGE, 1);
        if (cpu.oneIn(8)) kernel.memory.unmapLarge(LARGE);
        cpu.enterUserMode();
        for (let page = first; page < first + given; page++) own.forgetPage(page);
      }
      cpu.enterKernelMode();
      kernel.exitSpace();
    },
  ],

  small: { vcpus: 2, options: { pages: 2, filePages: 1, splinter: false }, machine: { ramPages: 2600 } },
});
