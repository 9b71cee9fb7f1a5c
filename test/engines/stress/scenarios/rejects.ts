/** vCPU 1 leaves a rejected promise behind that nobody waits for. */
import { defineScenario } from "umbra";

export default defineScenario({
  name: "rejects",
  about: "one vCPU's program leaves a rejected promise behind",
  guests: ["4level"],
  vcpus: { min: 2, max: 4, default: 2 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function counter(cpu) {
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
    function rejecter() {
      void Promise.reject(new Error("planted"));
    },
  ],
});
