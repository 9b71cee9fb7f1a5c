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
const SCREEN = 0x0400_0000;
/** The same pages once more, for a page with two mappings. */
const SECOND_SCREEN = 0x0500_0000;
const KEY = 6;
/** From one look to the next: a screen of three frames a second, so that two seconds are six of them. */
const LOOK_MS = 333;

/** The frame buffer: `pages` pages from `first` on, of each its first `words` words. */
interface FrameBuffer {
  readonly first: number;
  readonly pages: number;
  readonly words: number;
}

/** A display that draws only what it is told to have changed. */
class Display {
  readonly #toolstack: Toolstack;
  readonly #buffer: FrameBuffer;
  readonly #shown: Int32Array;
  readonly #scratch: Int32Array;
  readonly #bitmap: Int32Array;
  #milliseconds = 0;

  constructor(toolstack: Toolstack, buffer: FrameBuffer) {
    this.#toolstack = toolstack;
    this.#buffer = buffer;
    this.#shown = new Int32Array(buffer.pages * buffer.words);
    this.#scratch = new Int32Array(buffer.words);
    this.#bitmap = new Int32Array(Math.ceil(buffer.pages / 32));
  }

  /** Draws what has changed. `isStill` says that the domain is paused: what is told unchanged must be as it is shown. */
  refresh(isStill: boolean): void {
    const { first, pages } = this.#buffer;
    this.#milliseconds += LOOK_MS;
    const answer = this.#toolstack.trackVram(first, pages, this.#bitmap, this.#milliseconds);
    if (answer !== DomctlAnswer.done && answer !== DomctlAnswer.noData) return;
    for (let page = 0; page < pages; page++) {
      if (answer === DomctlAnswer.noData || this.#isTold(page)) this.#show(page);
      else if (isStill) this.#compare(page);
    }
  }

  /** No longer asks. */
  switchOff(): void {
    this.#toolstack.trackVram(0, 0, new Int32Array(0), this.#milliseconds);
  }

  #isTold(page: number): boolean {
    return (((this.#bitmap[page >>> 5] ?? 0) >>> (page & 31)) & 1) !== 0;
  }

  #show(page: number): void {
    const { first, words } = this.#buffer;
    this.#toolstack.readPage(first + page, this.#shown, page * words, words);
  }

  #compare(page: number): void {
    const { first, words } = this.#buffer;
    if (!this.#toolstack.readPage(first + page, this.#scratch, 0, words)) return;
    for (let word = 0; word < words; word++) {
      const shown = this.#shown[page * words + word] ?? 0;
      const now = this.#scratch[word] ?? 0;
      if (shown === now) continue;
      this.#toolstack.violation(
        "dirty",
        `gfn ${hex(first + page)} is told not to have changed, but its word ${String(word)} is shown as ${hex(shown >>> 0)} and is ${hex(now >>> 0)}`,
      );
      return;
    }
  }
}

/**
 * A display asks again and again which pages of a frame buffer have changed, while vCPUs draw into it, map it twice, and
 * take mappings of it away; it draws those pages, and no others. Now and then the domain is stopped, and what is shown must
 * be what is there. At times the guest is asked to be still, long enough that tracking gives up scanning; whoever draws next
 * must be noticed all the same.
 */
export default defineScenario({
  name: "frame-buffer",
  about:
    "a display shows only what it is told to have changed, while vCPUs draw, and must show what is there",
  slide: "VRAM tracking: spec 11.8",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 3 },
  options: {
    map: "one-to-one",
    pages: 16,
    looks: 6,
    stillLooks: 10,
    every: 100,
    part: WORDS,
    remap: false,
  },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { pages }) => ({ ramPages: 448 + pages + vcpus * 48 }),

  boot(loader, { map, pages }) {
    const screen = loader.consecutivePages(pages);
    const kernel = loader.kernel({
      personality: map,
      dataWords: ledgerWords(pages) + 1,
      areas: [
        { start: SCREEN, pages, backing: "object", firstFrame: screen },
        { start: SECOND_SCREEN, pages, backing: "object", firstFrame: screen },
      ],
    });
    return { kernel, screen };
  },

  programs: [
    function draw(cpu, { kernel: image }, { pages }) {
      const kernel = Kernel.start(cpu, image);
      const stamps = new Stamps(cpu, kernel.dataAddress(0), pages);
      const stillness = kernel.dataAddress(ledgerWords(pages));
      kernel.enterSharedSpace(KEY);
      kernel.meet();
      let isStill = false;
      while (cpu.running()) {
        const wasStill = isStill;
        isStill = cpu.loadKernel32(stillness) !== 0;
        // A page that is mapped twice counts as changed for ever.
        if (isStill && !wasStill) kernel.memory.unmapPages(SECOND_SCREEN, pages);
        if (isStill) continue;
        cpu.enterUserMode();
        for (let touch = 0; touch < 6; touch++) {
          const page = cpu.random(pages);
          const screen = cpu.oneIn(8) ? SECOND_SCREEN : SCREEN;
          stamps.stampPage(screen + page * PAGE, page);
        }
        cpu.enterKernelMode();
        const screen = cpu.oneIn(2) ? SCREEN : SECOND_SCREEN;
        if (cpu.oneIn(2)) kernel.memory.unmapPages(screen + cpu.random(pages) * PAGE, 1);
      }
      cpu.enterKernelMode();
      kernel.exitSharedSpace(KEY);
    },
  ],

  toolstack(toolstack, { kernel, screen }, { pages, looks, stillLooks, every, part, remap }) {
    const display = new Display(toolstack, { first: screen, pages, words: part });
    const stillness = kernel.data + 4 * ledgerWords(pages);
    while (toolstack.running()) {
      for (let look = 0; look < looks; look++) {
        toolstack.letRun(every);
        display.refresh(false);
        if (remap) toolstack.movePage(screen + toolstack.random(pages));
      }
      toolstack.pauseDomain();
      display.refresh(true);
      toolstack.unpauseDomain();
      if (stillLooks === 0) continue;
      toolstack.deviceWrite(stillness, 1);
      for (let look = 0; look < stillLooks; look++) {
        toolstack.letRun(every);
        display.refresh(false);
      }
      toolstack.deviceWrite(stillness, 0);
      if (toolstack.random(8) === 0) display.switchOff();
    }
  },

  holds(machine, { kernel, screen }, { pages }) {
    return lostStamps(machine, { firstFrame: screen, pages, ledger: kernel.data });
  },

  small: {
    vcpus: 2,
    options: { pages: 1, looks: 1, stillLooks: 0, every: 1, part: 68 },
    machine: { ramPages: 600 },
  },
});
