/** vCPU 1 falls into a loop that executes no guest operation, so that it never parks. */
import { defineScenario } from "umbra";

export default defineScenario({
  name: "spins",
  about: "one vCPU stops executing guest operations",
  guests: ["4level"],
  vcpus: { min: 2, max: 4, default: 2 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function counter(cpu) {
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
    function spinner(cpu) {
      cpu.store32(0x7000, 1);
      // oxlint-disable-next-line no-empty -- that is the fault
      for (;;) {}
    },
  ],
});
