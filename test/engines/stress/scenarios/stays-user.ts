/** The program returns in user mode. */
import { defineScenario } from "umbra";

export default defineScenario({
  name: "stays-user",
  about: "a program that returns in user mode",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function user(cpu) {
      cpu.enterUserMode();
    },
  ],
});
