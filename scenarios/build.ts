import { Kernel, PAGE_SLOTS, PERSONALITIES, PrivateStamps, defineScenario } from "umbra";

const PAGE = 4096;
const TEXT = 0x0040_0000;
const FILES = 0x2000_0000;
const HEAP = 0x4000_0000;
/** Pages of a file that are mapped at a time: a header, most often. */
const FILE_PAGES = 6;

/**
 * What compiling many files asks of an MMU, without what it computes: a process for each, which runs the text that its
 * forerunners ran, takes much fresh memory, works on it a little, maps one file after another for a moment, and ends.
 */
export default defineScenario({
  name: "build",
  about: "compilers come and go: short processes, much fresh memory, files mapped and unmapped",
  slide: "the build of the out-of-sync benchmark: spec 18.2",
  guests: ["4level", "pae", "2level"],
  vcpus: { min: 1, max: 16, default: 2 },
  options: { map: "one-to-one", text: 24, files: 8, cached: 64, heap: 64, work: 4 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { text, cached, heap }) => ({ ramPages: 512 + text + cached + vcpus * (heap + 48) }),

  boot(loader, { map, text, cached, heap }) {
    if (text < 1 || heap < 1 || cached < FILE_PAGES)
      throw new RangeError(`text and heap want a page at least, cached ${String(FILE_PAGES)}`);
    const firstText = loader.consecutivePages(text);
    const firstFile = loader.consecutivePages(cached);
    const kernel = loader.kernel({
      personality: map,
      spacesMax: 2 * loader.vcpus + 2,
      areas: [
        { start: TEXT, pages: text, backing: "object", firstFrame: firstText, isWritable: false },
        { start: FILES, pages: cached, backing: "object", firstFrame: firstFile, isWritable: false },
        { start: HEAP, pages: heap },
      ],
    });
    return { kernel };
  },

  programs: [
    function compiler(cpu, shared, { text, files, cached, heap, work }) {
      const kernel = Kernel.start(cpu, shared.kernel);
      const stamps = new PrivateStamps(cpu, heap);
      while (cpu.running()) {
        const space = kernel.enterNewSpace();
        if (space === 0) cpu.panic("guest", "there is no address space for another process");
        cpu.enterUserMode();
        for (let page = 0; page < text; page++) readPage(TEXT + page * PAGE);
        let fresh = 0;
        for (let file = 0; file < files; file++) {
          const first = cpu.random(cached - FILE_PAGES + 1);
          const start = FILES + first * PAGE;
          // It is read from its beginning to its end, and what comes of it is stored.
          for (let page = 0; page < FILE_PAGES; page++) readPage(start + page * PAGE);
          for (const end = Math.ceil(((file + 1) * heap) / files); fresh < end; fresh++)
            stamps.stampSlot(HEAP + fresh * PAGE, fresh, cpu.random(PAGE_SLOTS), space);
          for (let step = 0; step < work * FILE_PAGES; step++) {
            const page = cpu.random(fresh);
            const slot = cpu.random(PAGE_SLOTS);
            stamps.checkSlot(HEAP + page * PAGE, page, slot, 8);
            if (cpu.oneIn(4)) stamps.stampSlot(HEAP + page * PAGE, page, slot, space);
            readPage(TEXT + cpu.random(text) * PAGE);
          }
          cpu.enterKernelMode();
          kernel.memory.unmapPages(start, FILE_PAGES);
          cpu.enterUserMode();
        }
        cpu.enterKernelMode();
        kernel.exitSpace();
        stamps.forgetAll();
      }

      /** Of text and files, which nobody writes. */
      function readPage(address: number): void {
        const seen = cpu.load32(address);
        if (seen !== 0) cpu.violation("memory", `a file that nobody writes holds ${String(seen)}`);
      }
    },
  ],

  small: {
    vcpus: 2,
    options: { text: 1, files: 1, cached: FILE_PAGES, heap: 1, work: 1 },
    machine: { ramPages: 600 },
  },
});
