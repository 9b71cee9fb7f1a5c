/** A toolstack that moves pages, and the pool's size, while vCPUs count in them. */
import { defineScenario } from "umbra";

const PAGES = 8;
const FIRST = 0x10;

export default defineScenario({
  name: "with-toolstack",
  about: "a toolstack moves the pages in which vCPUs count",
  guests: ["4level"],
  vcpus: { min: 1, max: 4, default: 2 },
  machine: { ramPages: 512, poolPagesMax: 2048 },
  options: { destroy: false },
  boot: () => null,
  programs: [
    function counter(cpu) {
      while (cpu.running()) cpu.add32((FIRST + cpu.random(PAGES)) * 0x1000, 1);
    },
  ],
  toolstack(toolstack, _, { destroy }) {
    for (let round = 0; toolstack.running(); round++) {
      toolstack.movePage(FIRST + toolstack.random(PAGES));
      toolstack.letRun(1000);
      if (destroy && round === 20) toolstack.destroy();
    }
  },
});
