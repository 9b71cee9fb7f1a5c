/** vCPU 1 serves no flush any more, so that vCPU 0 waits for its acknowledgment for ever. */
import { defineScenario } from "umbra";

const READY = 0x6000;

export default defineScenario({
  name: "ignores-flush",
  about: "one vCPU waits for another's flush, which never comes",
  guests: ["4level"],
  vcpus: { min: 2, max: 2, default: 2 },
  machine: { ramPages: 512 },
  options: {},
  boot: () => null,
  programs: [
    function flusher(cpu) {
      while (cpu.load32(READY) === 0);
      cpu.vcpu.noteAddress(0x1234, 0);
      cpu.vcpu.mailbox.flushAll();
    },
    function ignorer(cpu) {
      cpu.store32(READY, 1);
      // oxlint-disable-next-line no-empty -- that is the fault
      for (;;) {}
    },
  ],
});
