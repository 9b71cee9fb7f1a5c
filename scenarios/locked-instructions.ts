import { EntryFlag, Register, defineScenario } from "umbra";

const PAGE = 4096;
/** Where the code, the table and the counters appear; behind `USED`, a page that the table maps. */
const CODE = 0x1000_0000;
const VIEW = 0x2000_0000;
const USED = 0x3000_0000;
const RIGHTS = EntryFlag.writable | EntryFlag.accessed | EntryFlag.dirty;
/** Entries of the table that stay absent: the guest's own bits in them are counted up. */
const ABSENT = 256;
/** The counter in plain memory, and behind it what each vCPU has added to both. */
const PLAIN = 0;
const OWN = 64;
/** Ends the code: an emulator that executes ahead comes no further. */
const HLT = 0xf4;
/** A bit that hardware does not look at: the entry remains absent. */
const STEP = 2;

/**
 * Two counters that all vCPUs add to: one in a page like any other, one in an entry of a pagetable, where every addition is
 * emulated. With LOCK none may be lost, whoever executes it.
 */
export default defineScenario({
  name: "locked-instructions",
  about: "vCPUs add to the same words by locked instructions, in plain memory and in a pagetable",
  slide: "x86 emulation of pagetable writes: spec 4.9, 5.2, 5.3",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { locked: true },
  machine: { ramPages: 256 },

  boot(loader, { locked }) {
    const counters = loader.page();
    const code = loader.page();
    const tables = loader.tables();
    const root = tables.newRoot();
    const entry = tables.entryAddress(root, USED, 1);
    const table = Math.floor(entry / PAGE);
    tables.mapPage(root, USED, loader.page(), { flags: RIGHTS });
    tables.mapPage(root, CODE, code, { flags: EntryFlag.accessed });
    tables.mapPage(root, VIEW, counters, { flags: RIGHTS });
    tables.mapPage(root, VIEW + PAGE, table, { flags: RIGHTS });
    const bytes = addition(locked);
    const codeBytes = bytes.length;
    bytes.push(HLT);
    for (let at = 0; at < bytes.length; at += 4)
      loader.ram.writeWord(code * PAGE + at, wordOf(bytes.slice(at, at + 4)));
    return { root, counters, table, codeBytes };
  },

  programs: [
    function adder(cpu, { root, codeBytes }) {
      cpu.enterKernelMode();
      cpu.enablePaging(root);
      const bytes = cpu.format === "2level" ? 4 : 8;
      const counter = VIEW + PAGE + ABSENT * bytes;
      const added = [0, 0];
      while (cpu.running()) {
        const which = cpu.oneIn(4) ? 1 : 0;
        // The table is in use, so it is shadowed.
        cpu.load32(USED);
        cpu.setGeneral(Register.rdi, which === 0 ? VIEW + PLAIN : counter);
        cpu.runCode(CODE, CODE + codeBytes);
        added[which] = (added[which] ?? 0) + STEP;
        cpu.store32(VIEW + OWN + 8 * cpu.id + 4 * which, added[which] ?? 0);
      }
    },
  ],

  holds({ ram, format, vcpus }, { counters, table }) {
    const broken: string[] = [];
    for (const [which, [where, at]] of [
      ["plain memory", counters * PAGE + PLAIN] as const,
      ["a pagetable", table * PAGE + ABSENT * (format === "2level" ? 4 : 8)] as const,
    ].entries()) {
      let added = 0;
      for (let id = 0; id < vcpus; id++) added += ram.readWord(counters * PAGE + OWN + 8 * id + 4 * which);
      const found = ram.readWord(at);
      if (found !== added)
        broken.push(`the counter in ${where} is ${String(found)} after additions of ${String(added)}`);
    }
    return broken;
  },

  small: { vcpus: 2 },
});

/** `add dword [edi], 2`, with LOCK or without; in 64-bit code the same bytes have RDI. */
function addition(isLocked: boolean): number[] {
  return [...(isLocked ? [0xf0] : []), 0x83, 0x07, STEP];
}

function wordOf(bytes: readonly number[]): number {
  return bytes.reduce((word, byte, index) => word | (byte << (8 * index)), 0);
}
