import { AccessOracle, Kernel, PERSONALITIES, Stamps, defineScenario, ledgerWords } from "umbra";
import type { Cpu } from "umbra";

const PAGE = 4096;
const DATA = 0x1000_0000;
const COUNTERS = 0x3000_0000;
const COUNTER_WORDS = 16;
const SPACE_KEY = 1;
const CPUS = 16;

/** All vCPUs are threads of one process: its tables, their lock and its pages are shared by all. */
export default defineScenario({
  name: "shared-address-space",
  about: "threads of one process fault on the same pages, lose the right to write them, and get it back",
  slide: "one shadow for all vCPUs: spec 4.6, 4.8, 14.7; rights raised without a flush",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: CPUS, default: 4 },
  options: { map: "one-to-one", flush: "invlpg", pages: 64 },
  choices: { map: PERSONALITIES, flush: ["invlpg", "reload"] },
  machine: (vcpus, { pages }) => ({ ramPages: 512 + pages + 64 * vcpus }),

  boot(loader, { map, flush, pages }) {
    const counters = loader.page();
    const kernel = loader.kernel({
      personality: map,
      flush,
      dataWords: ledgerWords(pages) + COUNTER_WORDS,
      areas: [
        { start: DATA, pages },
        { start: COUNTERS, pages: 1, backing: "object", firstFrame: counters },
      ],
    });
    return { kernel, counters, expected: ledgerWords(pages) };
  },

  programs: [
    function watcher(cpu, shared, { pages }) {
      const kernel = Kernel.start(cpu, shared.kernel);
      const stamps = new Stamps(cpu, kernel.dataAddress(0), pages);
      const oracle = new AccessOracle(cpu, kernel.memory, pages);
      kernel.enterSharedSpace(SPACE_KEY);
      kernel.meet();
      while (cpu.running()) {
        const page = cpu.random(pages);
        stamps.stampPage(DATA + page * PAGE, page);
        oracle.cleanPage(DATA + page * PAGE, page);
        for (let look = 0; look < 4; look++) {
          const other = cpu.random(pages);
          stamps.checkPage(DATA + other * PAGE, other);
          oracle.checkPage(DATA + other * PAGE, other);
        }
      }
      kernel.exitSharedSpace(SPACE_KEY);
    },
    // One watcher, however many vCPUs: what it takes from an entry nobody else must have taken.
    ...Array.from({ length: CPUS - 1 }, () => thread),
  ],

  holds({ ram }, { kernel, counters, expected }) {
    const broken: string[] = [];
    for (let word = 0; word < COUNTER_WORDS; word++) {
      const counted = ram.readWord(counters * PAGE + 4 * word);
      const wanted = ram.readWord(kernel.data + 4 * (expected + word));
      if (counted !== wanted) {
        broken.push(`counter ${String(word)} is ${String(counted)} after ${String(wanted)} increments`);
      }
    }
    return broken;
  },

  small: { vcpus: 2, options: { pages: 1 }, machine: { ramPages: 600 } },
});

/** Counts, stamps and looks in user mode; takes away the right to write some page now and then. */
function thread(
  cpu: Cpu,
  shared: { kernel: Parameters<typeof Kernel.start>[1]; expected: number },
  { pages }: { pages: number },
): void {
  const kernel = Kernel.start(cpu, shared.kernel);
  const stamps = new Stamps(cpu, kernel.dataAddress(0), pages);
  const counted = new Int32Array(COUNTER_WORDS);
  kernel.enterSharedSpace(SPACE_KEY);
  kernel.meet();
  cpu.enterUserMode();
  while (cpu.running()) {
    for (let touch = 0; touch < 8; touch++) {
      const page = cpu.random(pages);
      if (cpu.oneIn(2)) stamps.stampPage(DATA + page * PAGE, page);
      else stamps.checkPage(DATA + page * PAGE, page);
      const counter = cpu.random(COUNTER_WORDS);
      cpu.add32(COUNTERS + 4 * counter, 1);
      counted[counter] = (counted[counter] ?? 0) + 1;
    }
    cpu.enterKernelMode();
    const first = cpu.random(pages);
    kernel.memory.protectPages(DATA + first * PAGE, Math.min(4, pages - first));
    if (cpu.oneIn(4)) kernel.memory.protectPages(COUNTERS, 1);
    cpu.enterUserMode();
  }
  cpu.enterKernelMode();
  for (const [counter, count] of counted.entries()) {
    cpu.add32(kernel.dataAddress(shared.expected + counter), count);
  }
  kernel.exitSharedSpace(SPACE_KEY);
}
