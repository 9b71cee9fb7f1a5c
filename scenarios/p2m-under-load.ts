import { Kernel, PERSONALITIES, Stamps, defineScenario, ledgerWords, lostStamps } from "umbra";

const PAGE = 4096;
const FILE = 0x0400_0000;
const BALLOON = 0x0600_0000;
const RING = 0x0700_0000;
/** Words that the device writes, one after another, each a page of its own. */
const RING_PAGES = 2;

/**
 * While the guest works, its pages get other machine frames, and some are taken and given back. Contents must survive a
 * move whatever vCPUs do meanwhile; the tables that map the pages are moved too. Roots are not: a hypervisor cannot take
 * the page that a vCPU runs on.
 */
export default defineScenario({
  name: "p2m-under-load",
  about: "a toolstack moves, takes and gives pages, and a device writes, while vCPUs use them",
  slide: "changes of the p2m and what they unshadow: spec 12; device writes: 3.13",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 3 },
  options: { map: "one-to-one", filePages: 24, balloonPages: 8, every: 500 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { filePages, balloonPages }) => ({
    ramPages: 448 + filePages + balloonPages + 64 * vcpus,
  }),

  boot(loader, { map, filePages, balloonPages }) {
    const file = loader.consecutivePages(filePages);
    const balloon = loader.consecutivePages(balloonPages);
    const ring = loader.consecutivePages(RING_PAGES);
    // One table for the file in all address spaces, so that it is shadowed once and used by everybody.
    const tables = loader.tables();
    const table = tables.newTable();
    if (filePages > tables.format.entries) throw new RangeError("the pages of the file must fit one table");
    for (let page = 0; page < filePages; page++) {
      const at = table * PAGE + (((FILE / PAGE) % tables.format.entries) + page) * tables.format.entryBytes;
      tables.writeEntry(at, ((file + page) * PAGE) | 7, 0);
    }
    const kernel = loader.kernel({
      personality: map,
      dataWords: ledgerWords(filePages),
      areas: [
        { start: FILE, pages: filePages, backing: "manual" },
        { start: BALLOON, pages: balloonPages, backing: "object", firstFrame: balloon },
        { start: RING, pages: RING_PAGES, backing: "object", firstFrame: ring, isWritable: false },
      ],
    });
    return { kernel, file, balloon, ring, table };
  },

  programs: [
    function worker(cpu, shared, { filePages, balloonPages }) {
      const kernel = Kernel.start(cpu, shared.kernel);
      const stamps = new Stamps(cpu, kernel.dataAddress(0), filePages);
      const written = new Int32Array(RING_PAGES);
      if (kernel.enterNewSpace() === 0) cpu.panic("guest", "there is no address space");
      kernel.memory.linkTable(FILE, shared.table);
      while (cpu.running()) {
        cpu.enterUserMode();
        for (let touch = 0; touch < 8; touch++) {
          const page = cpu.random(filePages);
          stamps.stampPage(FILE + page * PAGE, page);
          const other = cpu.random(filePages);
          stamps.checkPage(FILE + other * PAGE, other);
        }
        for (let page = 0; page < RING_PAGES; page++) {
          const now = cpu.load32(RING + page * PAGE);
          const before = written[page] ?? 0;
          if (now < before) {
            const change = `from ${String(before)} back to ${String(now)}`;
            cpu.violation(
              "memory",
              `the word that a device counts up in ring page ${String(page)} went ${change}`,
            );
          }
          written[page] = now;
        }
        const balloon = BALLOON + cpu.random(balloonPages) * PAGE;
        if (cpu.oneIn(2)) cpu.store32(balloon, cpu.id);
        else cpu.load32(balloon);
        cpu.enterKernelMode();
        if (cpu.oneIn(4)) kernel.memory.unmapPages(BALLOON, balloonPages);
      }
    },
  ],

  toolstack(toolstack, { kernel, file, balloon, ring, table }, { filePages, balloonPages, every }) {
    const isOut = new Uint8Array(balloonPages);
    const kernelPages = kernel.data / PAGE;
    for (let count = 1; toolstack.running(); count++) {
      toolstack.letRun(every);
      const choice = toolstack.random(8);
      const page = toolstack.random(balloonPages);
      if (choice < 3) toolstack.movePage(file + toolstack.random(filePages));
      else if (choice === 3) toolstack.movePage(table);
      else if (choice === 4) toolstack.movePage(1 + toolstack.random(kernelPages - 1));
      else if (choice === 5) toolstack.movePage(ring + toolstack.random(RING_PAGES));
      else if (isOut[page] === 0) {
        toolstack.removePage(balloon + page);
        isOut[page] = 1;
      } else if (toolstack.addPage(balloon + page)) isOut[page] = 0;
      toolstack.deviceWrite((ring + (count % RING_PAGES)) * PAGE, count);
    }
    for (let page = 0; page < balloonPages; page++) if (isOut[page] === 1) toolstack.addPage(balloon + page);
  },

  holds(machine, { kernel, file }, { filePages }) {
    return lostStamps(machine, { firstFrame: file, pages: filePages, ledger: kernel.data });
  },

  small: { vcpus: 1, options: { filePages: 1, balloonPages: 1, every: 1 }, machine: { ramPages: 600 } },
});
