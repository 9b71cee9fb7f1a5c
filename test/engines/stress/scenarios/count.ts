/** The smallest scenario: with paging off, each vCPU counts in a word of its own and another of all. */
import { defineScenario } from "umbra";

const OWN = 0x5000;
const SHARED = 0x6000;

export default defineScenario({
  name: "count",
  about: "each vCPU counts in a word of its own, and in one of all",
  guests: ["4level", "pae", "2level"],
  vcpus: { min: 1, max: 8, default: 2 },
  machine: { ramPages: 512 },
  options: { step: 1, kind: "plain", isCareful: true },
  choices: { kind: ["plain", "odd"] },
  boot: () => ({ own: OWN, shared: SHARED }),
  programs: [
    function counter(cpu, { own, shared }, { step }) {
      const mine = own + 4 * cpu.id;
      while (cpu.running()) {
        cpu.store32(mine, cpu.load32(mine) + step);
        cpu.add32(shared, step);
      }
    },
  ],
  holds({ ram, vcpus }, { own, shared }) {
    let sum = 0;
    for (let id = 0; id < vcpus; id++) sum = (sum + ram.readWord(own + 4 * id)) | 0;
    const all = ram.readWord(shared) | 0;
    return all === sum ? [] : [`The word of all is ${String(all)} where ${String(sum)} is due.`];
  },
});
