import {
  DomctlAnswer,
  Kernel,
  PERSONALITIES,
  Stamps,
  defineScenario,
  hex,
  ledgerWords,
  lostStamps,
} from "umbra";
import type { Toolstack } from "umbra";

const PAGE = 4096;
const WORDS = 1024;
const FILE = 0x0400_0000;
const SCRATCH = 0x0600_0000;
const KEY = 6;

/** The memory that is migrated: `pages` pages from `first` on, of each its first `words` words; all by default. */
interface Range {
  readonly first: number;
  readonly pages: number;
  readonly words: number;
}

/** The other side of a migration. */
class Destination {
  readonly #toolstack: Toolstack;
  readonly #range: Range;
  readonly #copy: Int32Array;
  readonly #scratch: Int32Array;
  readonly #bitmap: Int32Array;

  constructor(toolstack: Toolstack, ramPages: number, range: Range) {
    this.#toolstack = toolstack;
    this.#range = range;
    this.#copy = new Int32Array(range.pages * range.words);
    this.#scratch = new Int32Array(range.words);
    this.#bitmap = new Int32Array(Math.ceil(ramPages / 32)).fill(-1);
  }

  /** Every page, before anything is known of what changes. */
  receiveAll(): void {
    this.#bitmap.fill(-1);
    this.#receive();
  }

  /** The pages that were written since the last time. False when they cannot be told. */
  receiveDirty(isPaused: boolean): boolean {
    if (this.#toolstack.harvestDirty(this.#bitmap, isPaused) !== DomctlAnswer.done) return false;
    this.#receive();
    return true;
  }

  /** Holds what was received against the memory of a domain that is stopped. */
  compare(): void {
    const { first, pages, words } = this.#range;
    for (let page = 0; page < pages; page++) {
      if (!this.#toolstack.readPage(first + page, this.#scratch, 0, words)) continue;
      for (let word = 0; word < words; word++) {
        const copied = this.#copy[page * words + word] ?? 0;
        const now = this.#scratch[word] ?? 0;
        if (copied === now) continue;
        this.#toolstack.violation(
          "dirty",
          `word ${String(word)} of gfn ${hex(first + page)} was migrated as ${hex(copied >>> 0)} and is ${hex(now >>> 0)}`,
        );
        break;
      }
    }
  }

  #receive(): void {
    const { first, pages, words } = this.#range;
    for (let page = 0; page < pages; page++) {
      const gfn = first + page;
      if ((((this.#bitmap[gfn >>> 5] ?? 0) >>> (gfn & 31)) & 1) === 0) continue;
      this.#toolstack.readPage(gfn, this.#copy, page * words, words);
    }
  }
}

/**
 * A live migration, again and again: all memory is copied while vCPUs write, then in rounds what they wrote meanwhile;
 * the domain is stopped, the rest is copied, and what has arrived must be its memory, to the last byte. vCPUs store to
 * pages and change their pagetables, so that pages become dirty by faults, by emulated stores, and by A and D bits.
 */
export default defineScenario({
  name: "live-migration",
  about: "dirty pages are copied in rounds while vCPUs write, and nothing may be lost",
  slide: "log-dirty mode: spec 11; a harvest without a pause, as KVM does it",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 3 },
  options: {
    remap: false,
    map: "one-to-one",
    harvest: "by-turns",
    pages: 24,
    scratchPages: 8,
    rounds: 3,
    every: 300,
    part: 0,
  },
  choices: { map: PERSONALITIES, harvest: ["by-turns", "paused", "running"] },
  machine: (vcpus, { pages, scratchPages }) => ({ ramPages: 448 + pages + vcpus * (64 + scratchPages) }),

  boot(loader, { map, pages, scratchPages }) {
    const file = loader.consecutivePages(pages);
    const balloon = loader.page();
    const kernel = loader.kernel({
      personality: map,
      dataWords: ledgerWords(pages),
      areas: [
        { start: FILE, pages, backing: "object", firstFrame: file },
        { start: SCRATCH, pages: scratchPages * loader.vcpus },
      ],
    });
    return { kernel, file, balloon, ramPages: loader.ram.pages };
  },

  programs: [
    function worker(cpu, { kernel: image }, { pages, scratchPages }) {
      const kernel = Kernel.start(cpu, image);
      const stamps = new Stamps(cpu, kernel.dataAddress(0), pages);
      const mine = SCRATCH + cpu.id * scratchPages * PAGE;
      kernel.enterSharedSpace(KEY);
      kernel.meet();
      while (cpu.running()) {
        cpu.enterUserMode();
        for (let touch = 0; touch < 6; touch++) {
          const page = cpu.random(pages);
          stamps.stampPage(FILE + page * PAGE, page);
          const other = cpu.random(pages);
          stamps.checkPage(FILE + other * PAGE, other);
          cpu.store32(mine + cpu.random(scratchPages) * PAGE, touch);
        }
        cpu.enterKernelMode();
        if (cpu.oneIn(2)) kernel.memory.unmapPages(mine + cpu.random(scratchPages) * PAGE, 1);
      }
      cpu.enterKernelMode();
      kernel.exitSharedSpace(KEY);
    },
  ],

  toolstack(toolstack, { file, balloon, ramPages }, { harvest, pages, rounds, every, part, remap }) {
    const range =
      part === 0 ? { first: 0, pages: ramPages, words: WORDS } : { first: file, pages, words: part };
    const destination = new Destination(toolstack, ramPages, range);
    for (let count = 0; toolstack.running(); count++) {
      const isPaused = harvest === "by-turns" ? count % 2 === 0 : harvest === "paused";
      if (toolstack.enableLogDirty() !== DomctlAnswer.done) break;
      destination.receiveAll();
      let isComplete = true;
      for (let round = 0; round < rounds && isComplete; round++) {
        toolstack.letRun(every);
        if (remap) {
          toolstack.movePage(file + toolstack.random(pages));
          // What is given back holds poison, which has to arrive too.
          if (toolstack.random(2) === 0) toolstack.removePage(balloon);
          else toolstack.addPage(balloon);
        }
        isComplete = destination.receiveDirty(isPaused);
      }
      toolstack.pauseDomain();
      if (isComplete && destination.receiveDirty(isPaused)) destination.compare();
      toolstack.unpauseDomain();
      toolstack.disableLogDirty();
      toolstack.letRun(every);
    }
  },

  holds(machine, { kernel, file }, { pages }) {
    return lostStamps(machine, { firstFrame: file, pages, ledger: kernel.data });
  },

  small: {
    vcpus: 2,
    options: { pages: 1, scratchPages: 1, rounds: 1, every: 1, part: 68 },
    machine: { ramPages: 600 },
  },
});
