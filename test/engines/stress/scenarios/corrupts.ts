/** vCPU 1 takes a reference of a page that it never gives back, and of another that it does not have. */
import { defineScenario } from "umbra";
import { FrameTable } from "../../../../src/memory/frame-table.ts";
import { mfn } from "../../../../src/memory/units.ts";

export default defineScenario({
  name: "corrupts",
  about: "a leaked reference",
  guests: ["4level"],
  vcpus: { min: 1, max: 4, default: 1 },
  machine: { ramPages: 512 },
  options: { wait: 0 },
  boot: () => null,
  programs: [
    function leaker(cpu, _, { wait }) {
      cpu.load32(0x5000);
      for (let round = 0; round < wait && cpu.running(); round++) cpu.load32(0x5000);
      const frames = new FrameTable(cpu.vcpu.memory, cpu.vcpu.layout);
      const frame = mfn(cpu.vcpu.frame);
      frames.setCount(frame, frames.count(frame) + 1);
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
  ],
});
