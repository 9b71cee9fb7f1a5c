import { KERNEL_SPACE, Kernel, PAGE_SLOTS, PERSONALITIES, SLOT_STRIDE, defineScenario, hex } from "umbra";
import type { Cpu } from "umbra";

const PAGE = 4096;
const DATA = 0x0840_0000;
const MARK = 0x4000_0000;
/** Words of the scenario's kernel data: the lock of the run queue (two), its length, the last process number. */
const QUEUE_LOCK = 0;
const QUEUE_LENGTH = 2;
const LAST_PROCESS = 3;
const QUEUE = 4;

/**
 * Processes fork and wander: any vCPU runs any of them for a while. What each page of each process must hold stands in
 * kernel memory, so whoever runs it next can tell whether somebody's store went into a page that it should not.
 */
export default defineScenario({
  name: "fork-copy-on-write",
  about: "processes share their pages with their children until one of them writes, on whatever vCPU",
  slide: "write access taken away and given back: spec 4.6, 4.8, 6; entries changed in place: spec 5",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", flush: "invlpg", pages: 24, processes: 24 },
  choices: { map: PERSONALITIES, flush: ["invlpg", "reload"] },
  machine: (vcpus, { pages, processes }) => ({ ramPages: 512 + (processes + 1) * (pages + 8) + 64 * vcpus }),

  boot(loader, { map, flush, pages, processes }) {
    const spacesMax = processes + 1;
    const kernel = loader.kernel({
      personality: map,
      flush,
      spacesMax,
      dataWords: QUEUE + spacesMax + spacesMax * pages * 2,
      areas: [{ start: DATA, pages }],
    });
    return { kernel };
  },

  programs: [
    function scheduler(cpu, { kernel: image }, { pages }) {
      const run = new ProcessRun(cpu, Kernel.start(cpu, image), pages, QUEUE + image.spacesMax);
      run.kernel.meet();
      while (cpu.running()) {
        if (!run.resume() && !run.spawn()) continue;
        for (let touch = 0; touch < 12; touch++) run.touch();
        const fate = cpu.random(8);
        if (fate < 3) run.fork();
        if (fate === 7) run.exit();
        else run.suspend();
      }
    },
  ],

  small: { vcpus: 2, options: { pages: 1, processes: 2 }, machine: { ramPages: 600 } },
});

/** One vCPU running one process after another. */
class ProcessRun {
  readonly kernel: Kernel;
  readonly #cpu: Cpu;
  readonly #pages: number;
  readonly #expected: number;
  #process = 0;
  #sequence = 0;

  constructor(cpu: Cpu, kernel: Kernel, pages: number, expected: number) {
    this.kernel = kernel;
    this.#cpu = cpu;
    this.#pages = pages;
    this.#expected = expected;
  }

  /** Takes the process that has waited longest from the run queue. */
  resume(): boolean {
    const { kernel } = this;
    this.#lockQueue();
    const length = this.#word(QUEUE_LENGTH);
    const space = length === 0 ? KERNEL_SPACE : this.#word(QUEUE);
    for (let place = 1; place < length; place++) this.#setWord(QUEUE + place - 1, this.#word(QUEUE + place));
    if (length > 0) this.#setWord(QUEUE_LENGTH, length - 1);
    this.#unlockQueue();
    if (space === KERNEL_SPACE) return false;
    kernel.spaces.switchTo(space);
    this.#process = this.#cpu.add32(kernel.dataAddress(LAST_PROCESS), 1) + 1;
    return true;
  }

  /** Makes a process with nothing in it. */
  spawn(): boolean {
    const space = this.kernel.enterNewSpace();
    if (space === KERNEL_SPACE) return false;
    for (let page = 0; page < this.#pages; page++) this.#expect(space, page, 0, 0);
    return true;
  }

  /** Looks at a page, or stores to it what no other process ever stores. */
  touch(): void {
    const cpu = this.#cpu;
    const { current } = this.kernel.spaces;
    const page = cpu.random(this.#pages);
    const address = DATA + page * PAGE + (page % PAGE_SLOTS) * SLOT_STRIDE;
    const place = this.#placeOf(current, page);
    const low = this.#word(place);
    const high = this.#word(place + 1);
    cpu.enterUserMode();
    if (cpu.load64(address) !== low || cpu.valueHigh !== high) {
      const seen = `${hex(cpu.valueHigh >>> 0)}:${hex(cpu.load32(address) >>> 0)}`;
      const wanted = `${hex(high >>> 0)}:${hex(low >>> 0)}`;
      cpu.violation(
        "memory",
        `page ${String(page)} of space ${String(current)} holds ${seen} instead of ${wanted}`,
      );
    }
    if (cpu.oneIn(2)) {
      const sequence = ++this.#sequence;
      const owner = MARK | ((this.#process & 0xfffff) << 5) | cpu.id;
      cpu.store64(address, sequence, owner);
      cpu.enterKernelMode();
      this.#expect(current, page, sequence, owner);
    }
    cpu.enterKernelMode();
  }

  /** Makes a child that waits in the run queue. */
  fork(): void {
    const { kernel } = this;
    const parent = kernel.spaces.current;
    const child = kernel.memory.forkSpace();
    if (child === KERNEL_SPACE) return;
    for (let page = 0; page < this.#pages; page++) {
      const place = this.#placeOf(parent, page);
      this.#expect(child, page, this.#word(place), this.#word(place + 1));
    }
    this.#enqueue(child);
  }

  /** The process ends, and what it alone has becomes free. */
  exit(): void {
    this.kernel.exitSpace();
  }

  /** The process waits for another turn, on any vCPU. */
  suspend(): void {
    const { current } = this.kernel.spaces;
    this.kernel.spaces.switchTo(KERNEL_SPACE);
    this.#enqueue(current);
  }

  #enqueue(space: number): void {
    this.#lockQueue();
    const length = this.#word(QUEUE_LENGTH);
    this.#setWord(QUEUE + length, space);
    this.#setWord(QUEUE_LENGTH, length + 1);
    this.#unlockQueue();
  }

  #expect(space: number, page: number, low: number, high: number): void {
    const place = this.#placeOf(space, page);
    this.#setWord(place, low);
    this.#setWord(place + 1, high);
  }

  #placeOf(space: number, page: number): number {
    return this.#expected + 2 * (space * this.#pages + page);
  }

  #lockQueue(): void {
    this.kernel.waits.lockAt(this.kernel.dataAddress(QUEUE_LOCK));
  }

  #unlockQueue(): void {
    this.kernel.waits.unlockAt(this.kernel.dataAddress(QUEUE_LOCK));
  }

  #word(index: number): number {
    return this.#cpu.load32(this.kernel.dataAddress(index));
  }

  #setWord(index: number, value: number): void {
    this.#cpu.store32(this.kernel.dataAddress(index), value);
  }
}
