/** The worker of vCPU 1 ends itself, without a word. */
import { exit } from "node:process";
import { defineScenario } from "umbra";

export default defineScenario({
  name: "vanishes",
  about: "one vCPU's worker ends in mid-run",
  guests: ["4level"],
  vcpus: { min: 2, max: 4, default: 2 },
  machine: { ramPages: 512 },
  options: { rounds: 1000 },
  boot: () => null,
  programs: [
    function counter(cpu) {
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
    function vanisher(cpu, _, { rounds }) {
      for (let round = 0; cpu.running(); round++) {
        if (round === rounds) exit(3);
        cpu.add32(0x6000, 1);
      }
    },
  ],
});
