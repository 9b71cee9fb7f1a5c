import { Kernel, PERSONALITIES, Stamps, defineScenario, ledgerWords } from "umbra";

const HOME = 0x0100_0000;
const COMMON = 0x0180_0000;

/**
 * Every vCPU switches among the roots of all. At one address each root shows a page of its own, stamped with the root's
 * number, so a translation that survives a switch, or a root whose shadow is another's, shows the wrong stamp.
 */
export default defineScenario({
  name: "root-switching",
  about: "vCPUs load one root after another, each other's too, and look whose memory they see",
  slide: "CR3 loads, pinned roots and their order: spec 3.4, 9",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", rootsEach: 8, pool: 0 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { rootsEach, pool }) => ({
    ramPages: 384 + vcpus * (64 + 12 * rootsEach),
    ...(pool === 0 ? {} : { poolPages: pool }),
  }),

  boot(loader, { map, rootsEach }) {
    if (rootsEach < 1) throw new RangeError("each vCPU must have a root at least");
    const roots = rootsEach * loader.vcpus;
    const kernel = loader.kernel({
      personality: map,
      spacesMax: roots + 1,
      dataWords: ledgerWords(roots) + ledgerWords(1) + roots,
      areas: [
        { start: HOME, pages: 1 },
        { start: COMMON, pages: 1, backing: "object", firstFrame: loader.page() },
      ],
    });
    return { kernel, roots, spaces: ledgerWords(roots) + ledgerWords(1) };
  },

  programs: [
    function switcher(cpu, { kernel: image, roots, spaces }, { rootsEach }) {
      const kernel = Kernel.start(cpu, image);
      const homes = new Stamps(cpu, kernel.dataAddress(0), roots);
      const common = homes.beside(kernel.dataAddress(ledgerWords(roots)), 1);
      for (let own = 0; own < rootsEach; own++) {
        const space = kernel.enterNewSpace();
        const root = cpu.id * rootsEach + own;
        if (space === 0) cpu.panic("guest", "there is no address space for another root");
        homes.stampPage(HOME, root);
        cpu.store32(kernel.dataAddress(spaces + root), space);
      }
      kernel.meet();
      while (cpu.running()) {
        const root = cpu.random(roots);
        kernel.spaces.switchTo(cpu.load32(kernel.dataAddress(spaces + root)));
        cpu.enterUserMode();
        homes.checkPage(HOME, root);
        if (cpu.oneIn(2)) homes.stampPage(HOME, root);
        if (cpu.oneIn(4)) common.stampPage(COMMON, 0);
        common.checkPage(COMMON, 0);
        cpu.enterKernelMode();
        if (cpu.oneIn(32)) kernel.memory.movePage(HOME);
        // A load of the root that is loaded already is a flush all the same.
        if (cpu.oneIn(8)) kernel.shootdown.flushOwn(0, 0);
      }
    },
  ],

  small: { vcpus: 2, options: { rootsEach: 1 }, machine: { ramPages: 600 } },
});
