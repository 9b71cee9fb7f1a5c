import { Grant, Kernel, PERSONALITIES, Probe, SwitchedPages, defineScenario } from "umbra";

const PAGE = 4096;
const SWITCHED = 0x0a00_0000;
const SPACE_KEY = 3;
const GRANTS = [
  0,
  0,
  0,
  Grant.present | Grant.user,
  Grant.present | Grant.user | Grant.writable,
  Grant.present | Grant.user | Grant.writable | Grant.executable,
  Grant.present | Grant.writable,
];

/**
 * Most entries are not present most of the time, and are remembered as such; then they become present without a flush,
 * and must be so for everybody from that moment on.
 */
export default defineScenario({
  name: "not-present-churn",
  about: "vCPUs hit entries that are not present while others make them present and take them away",
  slide: "the fast path for not-present entries: spec 4.3, 4.4, 13",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", pages: 32 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { pages }) => ({ ramPages: 400 + pages + 32 * vcpus }),

  boot(loader, { map, pages }) {
    const firstFrame = loader.consecutivePages(pages);
    const kernel = loader.kernel({
      personality: map,
      dataWords: pages,
      areas: [{ start: SWITCHED, pages, backing: "manual" }],
    });
    return {
      kernel,
      setup: { start: SWITCHED, pages, states: 0, firstFrame, firstDevice: loader.deviceFrame(0) },
    };
  },

  programs: [
    function prober(cpu, shared, { pages }) {
      const kernel = Kernel.start(cpu, shared.kernel);
      const switched = new SwitchedPages(kernel, shared.setup);
      kernel.enterSharedSpace(SPACE_KEY);
      kernel.meet();
      while (cpu.running()) {
        for (let look = 0; look < 16; look++) {
          switched.probe(
            cpu.random(pages),
            [Probe.load, Probe.store, Probe.fetch][cpu.random(3)] ?? 0,
            cpu.oneIn(2),
          );
        }
        // Every page is one vCPU's to change, so that nobody else changes it at the same time.
        const mine = cpu.id + cpu.vcpus * cpu.random(Math.ceil(pages / cpu.vcpus));
        if (mine < pages) switched.grant(mine, GRANTS[cpu.random(GRANTS.length)] ?? 0);
      }
      kernel.exitSharedSpace(SPACE_KEY);
    },
  ],

  holds({ ram }, { setup }, { pages }) {
    const broken: string[] = [];
    for (let page = 0; page < pages; page++) {
      const first = ram.readWord((setup.firstFrame + page) * PAGE);
      if (first !== 0)
        broken.push(`page ${String(page)} holds ${String(first)} in a word to which nobody stores`);
    }
    return broken;
  },

  small: { vcpus: 2, options: { pages: 1 }, machine: { ramPages: 500 } },
});
