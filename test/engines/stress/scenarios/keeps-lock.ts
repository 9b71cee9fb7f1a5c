/** vCPU 1 ends while it holds a lock that nobody else happens to want. */
import { defineScenario } from "umbra";
import { takeLock } from "./planted-lock.ts";

export default defineScenario({
  name: "keeps-lock",
  about: "one vCPU ends while it holds a lock",
  guests: ["4level"],
  vcpus: { min: 2, max: 4, default: 2 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function counter(cpu) {
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
    function keeper(cpu) {
      while (cpu.running()) cpu.add32(0x6000, 1);
      takeLock(cpu, "heap");
    },
  ],
});
