/** Two vCPUs take two locks, each in its own order, and wait between the first and the second until both have one. */
import { defineScenario } from "umbra";
import { takeLock } from "./planted-lock.ts";

const READY = 0x6000;

export default defineScenario({
  name: "deadlocks",
  about: "two vCPUs take two locks in opposite orders",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function forwards(cpu) {
      cpu.load32(READY);
      takeLock(cpu, "p2m");
      cpu.add32(READY, 1);
      while (cpu.load32(READY) !== 2);
      takeLock(cpu, "paging");
    },
    function backwards(cpu) {
      cpu.load32(READY);
      takeLock(cpu, "paging");
      cpu.add32(READY, 1);
      while (cpu.load32(READY) !== 2);
      takeLock(cpu, "p2m");
    },
  ],
});
