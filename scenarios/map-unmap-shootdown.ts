import {
  Kernel,
  PAGE_SLOTS,
  PERSONALITIES,
  PrivateStamps,
  Stamps,
  defineScenario,
  ledgerWords,
  lostStamps,
} from "umbra";

const PAGE = 4096;
const DATA = 0x0900_0000;
const FILE = 0x3000_0000;
const SCRATCH = 0x5000_0000;
const SPACE_KEY = 2;

/**
 * Threads of one process read and write pages whose frames are changed under them, as memory compaction does: the entry
 * is cleared, every vCPU flushed, the contents copied, the new frame mapped. The old frame is used for something else at
 * once, so a translation that outlives its flush is seen from both sides.
 */
export default defineScenario({
  name: "map-unmap-shootdown",
  about: "pages are moved, unmapped and mapped again under threads that use them, with flushes between vCPUs",
  slide: "flushes: spec 14.7, 14.8; emulated clearing and setting of entries: spec 5",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", flush: "invlpg", pages: 24, filePages: 8, scratchPages: 16 },
  choices: { map: PERSONALITIES, flush: ["invlpg", "reload"] },
  machine: (vcpus, { pages, scratchPages }) => ({ ramPages: 512 + pages + vcpus * (scratchPages + 64) }),

  boot(loader, { map, flush, pages, filePages, scratchPages }) {
    const firstFrame = loader.consecutivePages(filePages);
    const kernel = loader.kernel({
      personality: map,
      flush,
      dataWords: ledgerWords(pages) + ledgerWords(filePages),
      areas: [
        { start: DATA, pages },
        { start: FILE, pages: filePages, backing: "object", firstFrame },
        { start: SCRATCH, pages: scratchPages * loader.vcpus },
      ],
    });
    return { kernel, firstFrame };
  },

  programs: [
    function thread(cpu, { kernel: image }, { pages, filePages, scratchPages }) {
      const kernel = Kernel.start(cpu, image);
      const moving = new Stamps(cpu, kernel.dataAddress(0), pages);
      const file = moving.beside(kernel.dataAddress(ledgerWords(pages)), filePages);
      const scratch = new PrivateStamps(cpu, scratchPages);
      const mine = SCRATCH + cpu.id * scratchPages * PAGE;
      kernel.enterSharedSpace(SPACE_KEY);
      kernel.meet();
      while (cpu.running()) {
        cpu.enterUserMode();
        for (let touch = 0; touch < 6; touch++) {
          const page = cpu.random(pages);
          if (cpu.oneIn(2)) moving.stampPage(DATA + page * PAGE, page);
          moving.checkPage(DATA + page * PAGE, page);
          const shown = cpu.random(filePages);
          file.stampPage(FILE + shown * PAGE, shown);
          file.checkPage(FILE + shown * PAGE, shown);
          const own = cpu.random(scratchPages);
          const slot = cpu.random(PAGE_SLOTS);
          scratch.stampSlot(mine + own * PAGE, own, slot, cpu.id);
          scratch.checkSlot(mine + own * PAGE, own, cpu.random(PAGE_SLOTS), 1 << cpu.random(4));
        }
        cpu.enterKernelMode();
        kernel.memory.movePage(DATA + cpu.random(pages) * PAGE);
        // Clearing several entries in a row makes a hypervisor give the table's shadow up; others need it again at once.
        const first = cpu.random(filePages);
        if (cpu.oneIn(2)) kernel.memory.unmapPages(FILE + first * PAGE, Math.min(4, filePages - first));
        if (cpu.oneIn(8)) kernel.memory.protectPages(DATA + cpu.random(pages) * PAGE, 1);
        const given = cpu.random(scratchPages);
        kernel.memory.unmapPages(mine + given * PAGE, 1);
        scratch.forgetPage(given);
      }
      cpu.enterKernelMode();
      kernel.exitSharedSpace(SPACE_KEY);
    },
  ],

  holds(machine, { kernel, firstFrame }, { pages, filePages }) {
    return lostStamps(machine, {
      firstFrame,
      pages: filePages,
      ledger: kernel.data + 4 * ledgerWords(pages),
    });
  },

  small: { vcpus: 2, options: { pages: 1, filePages: 1, scratchPages: 1 }, machine: { ramPages: 600 } },
});
