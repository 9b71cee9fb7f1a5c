/** Every vCPU halts, and nobody is left who could send an interrupt. */
import { defineScenario } from "umbra";

export default defineScenario({
  name: "sleeps",
  about: "every vCPU halts and waits for an interrupt that nobody sends",
  guests: ["4level"],
  vcpus: { min: 1, max: 4, default: 2 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function sleeper(cpu) {
      while (cpu.running()) {
        cpu.store32(0x6000, 1);
        cpu.halt();
      }
    },
  ],
});
