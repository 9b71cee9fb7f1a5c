import { Kernel, PERSONALITIES, PrivateStamps, defineScenario } from "umbra";
import type { Cpu } from "umbra";

/** The level 3 tables take the lower half of their page; what a vCPU stores beside them lies in the upper half. */
const SPACES_MAX = 64;
const DATA_OFFSET = 2048;
const DATA_BYTES = 128;
const HOME = 0x0200_0000;
/** Stores and loads whose exits are counted together. */
const BATCH = 64;
/** Batches after a CR3 load in which shadows may still have to be filled in. */
const WARM_UP = 2;

/**
 * The talk's problem of shared use: a PAE guest keeps its level 3 tables, of 32 bytes each, in a page with other data.
 * Were that page write-protected, every store to the data would exit. Since level 3 tables are copied when CR3 is loaded,
 * none does.
 */
export default defineScenario({
  name: "data-beside-pdpts",
  about: "stores to data in a page that also holds the level 3 tables in use cost no exit",
  slide: "PAE level 3 tables are not shadowed: spec 9.2, 9.3",
  guests: ["pae"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", roots: 2 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { roots }) => ({ ramPages: 384 + vcpus * (64 + 8 * roots) }),

  boot(loader, { map, roots }) {
    if (roots * loader.vcpus >= SPACES_MAX)
      throw new RangeError("the roots of all vCPUs must fit half a page");
    const kernel = loader.kernel({
      personality: map,
      spacesMax: SPACES_MAX,
      areas: [{ start: HOME, pages: 1 }],
    });
    return { kernel, data: kernel.map.kernelBase + kernel.pdpts + DATA_OFFSET };
  },

  programs: [
    function process(cpu, { kernel: image, data }, { roots }) {
      const kernel = Kernel.start(cpu, image);
      const own = data + cpu.id * DATA_BYTES;
      const spaces: number[] = [];
      const homes: PrivateStamps[] = [];
      for (let root = 0; root < roots; root++) {
        const space = kernel.enterNewSpace();
        if (space === 0) cpu.panic("guest", "there is no address space for another root");
        spaces.push(space);
        homes.push(new PrivateStamps(cpu, 1));
      }
      kernel.meet();
      while (cpu.running()) {
        const root = cpu.random(roots);
        kernel.spaces.switchTo(spaces[root] ?? 0);
        homes[root]?.checkSlot(HOME, 0, 0, 8);
        homes[root]?.stampSlot(HOME, 0, 0, root);
        for (let batch = 0; batch < WARM_UP + 2; batch++) {
          const exits = exitsOfBatch(cpu, own);
          if (exits === 0 || batch < WARM_UP) continue;
          cpu.violation(
            "exits",
            `${String(BATCH)} stores beside level 3 tables in use cost ${String(exits)} exits`,
          );
        }
      }
    },
  ],

  small: { vcpus: 2, options: { roots: 1 }, machine: { ramPages: 600 } },
});

/** Stores to every word of a vCPU's data and loads it again; the exits that took. */
function exitsOfBatch(cpu: Cpu, data: number): number {
  const before = cpu.exits();
  for (let count = 0; count < BATCH; count++) {
    const address = data + ((4 * count) % DATA_BYTES);
    const value = cpu.random(0x7fff_ffff);
    cpu.store32(address, value);
    const seen = cpu.load32(address);
    if (seen !== value)
      cpu.violation("memory", `a word beside a level 3 table is ${String(seen)}, not ${String(value)}`);
  }
  return cpu.exits() - before;
}
