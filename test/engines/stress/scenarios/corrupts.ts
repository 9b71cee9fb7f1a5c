/** vCPU 0 leaks something: a reference of a page, which an audit sees, or a free frame, which only a teardown does. */
import { defineScenario } from "umbra";
import { DomainCell } from "../../../../src/memory/domain-area.ts";
import { FrameTable } from "../../../../src/memory/frame-table.ts";
import { mfn } from "../../../../src/memory/units.ts";

export default defineScenario({
  name: "corrupts",
  about: "a leak",
  guests: ["4level"],
  vcpus: { min: 1, max: 4, default: 1 },
  machine: { ramPages: 512 },
  options: { what: "reference" },
  choices: { what: ["reference", "frame"] },
  boot: () => null,
  programs: [
    function leaker(cpu, _, { what }) {
      cpu.load32(0x5000);
      const { memory, layout, frame } = cpu.vcpu;
      if (what === "reference") {
        const frames = new FrameTable(memory, layout);
        frames.setCount(mfn(frame), frames.count(mfn(frame)) + 1);
      } else {
        const free = layout.regions.domain.offset + DomainCell.heapFree;
        memory.storeGuarded(free, memory.loadGuarded(free) - 1);
      }
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
  ],
});
