import { Kernel, PAGE_SLOTS, PERSONALITIES, PrivateStamps, defineScenario } from "umbra";
import type { GuestFormat } from "umbra";

const FIRST = 0x0080_0000;
/** One page a table: the address space is wide and almost empty. */
const STRIDE: Readonly<Record<GuestFormat, number>> = {
  "2level": 0x0040_0000,
  pae: 0x0020_0000,
  "4level": 0x4020_0000,
};

/** Far more tables than shadows: every touch may need the shadow that another vCPU's next touch needs. */
export default defineScenario({
  name: "tiny-pool",
  about: "many processes with wide, sparse memory share the smallest pool of shadows there can be",
  slide: "prealloc, both stages, and the pinned list: spec 3.4, 3.6, 3.7; reuse before flush: 3.8",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 2 },
  options: { map: "one-to-one", processes: 12, tables: 24, resize: true },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { processes, tables }) => ({
    ramPages: 384 + vcpus * (64 + processes * (8 + tables * 4)),
    // Less than the machine can do with, so it takes its minimum.
    poolPages: 1,
    poolPagesMax: 64 + 512 * vcpus,
  }),

  boot(loader, { map, processes, tables }) {
    const kernel = loader.kernel({
      personality: map,
      spacesMax: processes * loader.vcpus + 1,
      areas: Array.from({ length: tables }, (_, area) => ({
        start: FIRST + area * STRIDE[loader.format],
        pages: 1,
      })),
    });
    return { kernel };
  },

  programs: [
    function sparse(cpu, { kernel: image }, { processes, tables }) {
      const kernel = Kernel.start(cpu, image);
      const spaces: number[] = [];
      const stamps: PrivateStamps[] = [];
      for (let process = 0; process < processes; process++) {
        spaces.push(kernel.spaces.createSpace());
        stamps.push(new PrivateStamps(cpu, tables));
      }
      while (cpu.running()) {
        const process = cpu.random(processes);
        const own = stamps[process];
        const space = spaces[process] ?? 0;
        if (space === 0 || own === undefined) break;
        kernel.spaces.switchTo(space);
        cpu.enterUserMode();
        for (let touch = 0; touch < 6; touch++) {
          const table = cpu.random(tables);
          const address = kernel.area(table).start;
          const slot = cpu.random(PAGE_SLOTS);
          if (cpu.oneIn(2)) own.stampSlot(address, table, slot, space);
          else own.checkSlot(address, table, slot, 1 << cpu.random(4));
        }
        cpu.enterKernelMode();
        if (cpu.oneIn(16)) {
          const table = cpu.random(tables);
          kernel.memory.unmapWithTables(kernel.area(table));
          own.forgetPage(table);
        }
      }
    },
  ],

  toolstack(toolstack, _, { resize }) {
    const least = toolstack.allocation();
    while (toolstack.running()) {
      toolstack.letRun(20_000);
      if (resize) toolstack.setAllocation(least + toolstack.random(64));
    }
  },

  small: {
    vcpus: 2,
    options: { processes: 1, tables: 2, resize: false },
    machine: { ramPages: 600, poolPages: 1 },
    freePoolPages: 14,
  },
});
