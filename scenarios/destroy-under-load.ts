import { KERNEL_SPACE, Kernel, PAGE_SLOTS, PERSONALITIES, PrivateStamps, defineScenario } from "umbra";

const PAGE = 4096;
const PRIVATE = 0x0300_0000;
const COMMON = 0x2300_0000;
const SPACE_KEY = 6;

/** The domain is destroyed in the middle of everything, and nothing of it may be left over. */
export default defineScenario({
  name: "destroy-under-load",
  about: "processes fork, share, exit and switch roots until the domain is destroyed under them",
  slide: "teardown: spec 3.3, 19; a dying domain and what still runs in it: spec 20.66",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", pages: 16, operations: 150_000 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { pages }) => ({ ramPages: 448 + pages + vcpus * (96 + 3 * pages) }),

  boot(loader, { map, pages }) {
    const kernel = loader.kernel({
      personality: map,
      spacesMax: 3 * loader.vcpus + 2,
      areas: [
        { start: PRIVATE, pages },
        { start: COMMON, pages },
      ],
    });
    return { kernel };
  },

  programs: [
    function process(cpu, { kernel: image }, { pages }) {
      const kernel = Kernel.start(cpu, image);
      const stamps = new PrivateStamps(cpu, pages);
      while (cpu.running()) {
        const space = kernel.enterNewSpace();
        if (space === KERNEL_SPACE) continue;
        cpu.enterUserMode();
        for (let touch = 0; touch < 24; touch++) {
          const page = cpu.random(pages);
          const slot = cpu.random(PAGE_SLOTS);
          stamps.stampSlot(PRIVATE + page * PAGE, page, slot, space);
          stamps.checkSlot(PRIVATE + page * PAGE, page, cpu.random(PAGE_SLOTS), 8);
        }
        cpu.enterKernelMode();
        const child = kernel.memory.forkSpace();
        kernel.exitSpace();
        if (child !== KERNEL_SPACE) {
          kernel.spaces.switchTo(child);
          const page = cpu.random(pages);
          stamps.checkSlot(PRIVATE + page * PAGE, page, cpu.random(PAGE_SLOTS), 8);
          kernel.exitSpace();
        }
        stamps.forgetAll();
        kernel.enterSharedSpace(SPACE_KEY);
        for (let touch = 0; touch < 4; touch++) cpu.add32(COMMON + cpu.random(pages) * PAGE, 1);
        kernel.exitSharedSpace(SPACE_KEY);
      }
    },
  ],

  toolstack(toolstack, _, { operations }) {
    toolstack.letRun(operations);
    if (toolstack.running()) toolstack.destroy();
  },

  small: { vcpus: 1, options: { pages: 1, operations: 50 }, machine: { ramPages: 600 } },
});
