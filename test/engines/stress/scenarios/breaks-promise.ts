/** What must hold in the end does not, and a program says on its way that something is wrong. */
import { defineScenario } from "umbra";

export default defineScenario({
  name: "breaks-promise",
  about: "a finding in mid-run and a promise that is not kept",
  guests: ["4level"],
  vcpus: { min: 1, max: 4, default: 1 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function reporter(cpu) {
      cpu.violation("memory", "A planted finding.");
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
  ],
  holds: () => ["A planted promise does not hold."],
});
