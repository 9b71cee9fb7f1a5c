/** vCPU 1 throws an error of its own after some rounds. */
import { defineScenario } from "umbra";

export default defineScenario({
  name: "throws",
  about: "one vCPU's program throws",
  guests: ["4level"],
  vcpus: { min: 2, max: 4, default: 2 },
  machine: { ramPages: 512 },
  options: { rounds: 1000 },
  boot: () => null,
  programs: [
    function counter(cpu) {
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
    function thrower(cpu, _, { rounds }) {
      for (let round = 0; cpu.running(); round++) {
        if (round === rounds) throw new TypeError("planted");
        cpu.add32(0x6000, 1);
      }
    },
  ],
});
