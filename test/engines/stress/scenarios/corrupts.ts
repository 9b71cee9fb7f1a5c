/** vCPU 0 leaks something: in mid-run, where an audit sees it, or while it is taken down, where only the teardown does. */
import { defineScenario } from "umbra";
import { ShadowPaging } from "../../../../src/hypervisor/shadow/shadow-paging.ts";
import { FrameTable } from "../../../../src/memory/frame-table.ts";
import { mfn } from "../../../../src/memory/units.ts";

export default defineScenario({
  name: "corrupts",
  about: "a leaked reference",
  guests: ["4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  machine: { ramPages: 512 },
  options: { when: "running" },
  choices: { when: ["running", "leaving"] },
  boot: () => null,
  programs: [
    function leaker(cpu, _, { when }) {
      cpu.load32(0x5000);
      const { memory, layout, frame } = cpu.vcpu;
      const leak = (): void => {
        const frames = new FrameTable(memory, layout);
        frames.setCount(mfn(frame), frames.count(mfn(frame)) + 1);
      };
      if (when === "running") leak();
      else ShadowPaging.prototype.teardownVcpu = leak;
      while (cpu.running()) cpu.add32(0x6000, 1);
    },
  ],
});
