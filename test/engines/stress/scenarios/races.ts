/** Every vCPU writes a cell of the domain that the paging lock guards, without the lock: the value it has, so that nothing else breaks. */
import { defineScenario } from "umbra";
import { DomainCell } from "../../../../src/memory/domain-area.ts";

export default defineScenario({
  name: "races",
  about: "a guarded cell is written without its lock",
  guests: ["4level"],
  vcpus: { min: 1, max: 4, default: 2 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function careless(cpu) {
      const { memory, layout } = cpu.vcpu;
      const cell = layout.regions.domain.offset + DomainCell.nextVictim;
      while (cpu.running()) {
        cpu.load32(0x6000);
        memory.storeGuarded(cell, memory.loadGuarded(cell));
      }
    },
  ],
});
