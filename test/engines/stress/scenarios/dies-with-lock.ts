/** The worker of vCPU 1 ends while it holds the lock that vCPU 0 then waits for. */
import { exit } from "node:process";
import { defineScenario } from "umbra";
import { takeLock } from "./planted-lock.ts";

const READY = 0x6000;

export default defineScenario({
  name: "dies-with-lock",
  about: "one vCPU's worker ends while it holds the paging lock",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function waiter(cpu) {
      while (cpu.load32(READY) === 0);
      takeLock(cpu, "paging");
    },
    function dier(cpu) {
      cpu.load32(READY);
      takeLock(cpu, "paging");
      cpu.store32(READY, 1);
      exit(3);
    },
  ],
});
