import {
  EntryFlag,
  Kernel,
  PERSONALITIES,
  Stamps,
  defineScenario,
  entryHigh,
  entryLow,
  ledgerWords,
  lostStamps,
} from "umbra";
import type { Cpu } from "umbra";

const PAGE = 4096;
const DATA = 0x1000_0000;
const FRONT = 0x2000_0000;
/** Pages that each vCPU has for itself, all behind one leaf table: a run of entries, and a copy of it behind. */
const RUN = 8;
const OWN_BYTES = 2 * RUN * PAGE;
const LEAF = EntryFlag.present | EntryFlag.writable | EntryFlag.user;
const SPACE_KEY = 3;

/**
 * Everything that this kernel writes to its pagetables it writes by machine code: MOV, XCHG, LOCK CMPXCHG, CMPXCHG8B,
 * LOCK AND, LOCK BTR, REP STOS, REP MOVS. vCPUs fetch and execute it; where it stores to a page that is shadowed, the
 * hypervisor fetches it again, through the guest's own tables, and emulates it.
 */
export default defineScenario({
  name: "machine-code-pagetables",
  about: "a kernel writes its pagetables by x86 instructions, which are executed, or fetched and emulated",
  slide: "x86 emulation of pagetable writes: spec 4.9, 5; entries of two halves: spec 5.6",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", flush: "invlpg", pages: 32, frames: 8 },
  choices: { map: PERSONALITIES, flush: ["invlpg", "reload"] },
  machine: (vcpus, { pages, frames }) => ({ ramPages: 512 + pages + frames + 64 * vcpus }),

  boot(loader, { map, flush, pages, frames }) {
    const firstFrame = loader.consecutivePages(frames);
    const kernel = loader.kernel({
      personality: map,
      flush,
      machineCode: true,
      dataWords: ledgerWords(frames) + ledgerWords(pages),
      areas: [
        { start: DATA, pages },
        { start: FRONT, pages: 2 * RUN * loader.vcpus, backing: "manual" },
      ],
    });
    return { kernel, firstFrame };
  },

  programs: [
    function writer(cpu, { kernel: image, firstFrame }, { pages, frames }) {
      const kernel = Kernel.start(cpu, image);
      const shown = new Stamps(cpu, kernel.dataAddress(0), frames);
      const stamps = shown.beside(kernel.dataAddress(ledgerWords(frames)), pages);
      const run = new Run(cpu, kernel, shown, { firstFrame, frames });
      kernel.enterSharedSpace(SPACE_KEY);
      kernel.meet();
      while (cpu.running()) {
        for (let touch = 0; touch < 4; touch++) {
          const page = cpu.random(pages);
          stamps.stampPage(DATA + page * PAGE, page);
          const other = cpu.random(pages);
          stamps.checkPage(DATA + other * PAGE, other);
        }
        const first = cpu.random(pages);
        kernel.memory.protectPages(DATA + first * PAGE, Math.min(4, pages - first));
        for (let entry = 0; entry < RUN; entry++) run.point(entry);
        run.copyAndCheck();
        run.clearCopy();
      }
      kernel.exitSharedSpace(SPACE_KEY);
    },
  ],

  holds(machine, { kernel, firstFrame }, { frames }) {
    return lostStamps(machine, { firstFrame, pages: frames, ledger: kernel.data });
  },

  small: { vcpus: 2, options: { pages: 1, frames: 1 }, machine: { ramPages: 600 } },
});

/** Entries of a vCPU's own that show frames which all vCPUs stamp, and a copy of them made by MOVS. */
class Run {
  readonly #cpu: Cpu;
  readonly #kernel: Kernel;
  readonly #shown: Stamps;
  readonly #firstFrame: number;
  readonly #frames: number;
  readonly #front: number;
  readonly #tags = new Int32Array(RUN).fill(-1);

  constructor(cpu: Cpu, kernel: Kernel, shown: Stamps, at: { firstFrame: number; frames: number }) {
    this.#cpu = cpu;
    this.#kernel = kernel;
    this.#shown = shown;
    this.#firstFrame = at.firstFrame;
    this.#frames = at.frames;
    this.#front = FRONT + cpu.id * OWN_BYTES;
  }

  /** Points an entry at some frame, and uses it. */
  point(entry: number): void {
    const tag = this.#cpu.random(this.#frames);
    const frame = this.#firstFrame + tag;
    const address = this.#front + entry * PAGE;
    this.#kernel.memory.putLeaf(address, entryLow(frame, LEAF), entryHigh(frame));
    this.#tags[entry] = tag;
    if (this.#cpu.oneIn(2)) this.#shown.stampPage(address, tag);
    this.#shown.checkPage(address, tag);
  }

  /** Copies the entries over absent ones. Each must then show the same frame as the one that it is a copy of. */
  copyAndCheck(): void {
    const { memory, tables, code } = this.#kernel;
    memory.lockTables();
    const from = tables.locate(this.#front, 1);
    code?.copyEntries(from + RUN * this.#entryBytes(), from, this.#words());
    memory.unlockTables();
    for (let entry = 0; entry < RUN; entry++) {
      const tag = this.#tags[entry] ?? -1;
      const address = this.#front + (RUN + entry) * PAGE;
      if (this.#cpu.oneIn(2)) this.#shown.stampPage(address, tag);
      this.#shown.checkPage(address, tag);
    }
  }

  /** Takes the copies away. Nobody else has used them. */
  clearCopy(): void {
    const { memory, tables, code } = this.#kernel;
    memory.lockTables();
    const from = tables.locate(this.#front, 1);
    code?.clearEntries(from + RUN * this.#entryBytes(), this.#words());
    memory.unlockTables();
    for (let entry = 0; entry < RUN; entry++) this.#cpu.invlpg(this.#front + (RUN + entry) * PAGE);
  }

  #entryBytes(): number {
    return this.#cpu.format === "2level" ? 4 : 8;
  }

  /** Of the size that the kernel's string instructions have. */
  #words(): number {
    return this.#cpu.format === "pae" ? 2 * RUN : RUN;
  }
}
