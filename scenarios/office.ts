import { Kernel, PAGE_SLOTS, PERSONALITIES, PrivateStamps, defineScenario, hex } from "umbra";

const PAGE = 4096;
const LIBRARIES = 0x1000_0000;
const WORKING_SET = 0x3000_0000;
const DEVICES = 0x5000_0000;
/** Registers of a device lie 64 bytes apart. */
const REGISTER_BYTES = 64;
const REGISTERS = 4;

/**
 * What a desktop of the time of the talk's slide asks of an MMU: a few programs that stay, are switched between, touch
 * memory here and there, and are trimmed, so that much is not present for a moment; and drivers that poll their devices.
 */
export default defineScenario({
  name: "office",
  about: "programs that stay take turns, lose pages and get them back, while drivers poll devices",
  slide: "the office benchmark of the performance slide: spec 4.3, 8, 18.1",
  guests: ["pae", "4level", "2level"],
  vcpus: { min: 1, max: 16, default: 2 },
  options: { map: "one-to-one", applications: 3, pages: 48, libraries: 32, devices: 2, polls: 12, bursts: 8 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { applications, pages, libraries }) => ({
    ramPages: 512 + libraries + vcpus * (applications * (pages + 16) + 32),
  }),

  boot(loader, { map, applications, pages, libraries, devices }) {
    if (applications < 1 || pages < 8 || libraries < 8 || devices < 1)
      throw new RangeError("applications and devices want 1 at least, pages and libraries 8");
    const firstFrame = loader.consecutivePages(libraries);
    const kernel = loader.kernel({
      personality: map,
      spacesMax: applications * loader.vcpus + 2,
      areas: [
        { start: LIBRARIES, pages: libraries, backing: "object", firstFrame, isWritable: false },
        { start: WORKING_SET, pages },
        { start: DEVICES, pages: devices, backing: "device", firstFrame: loader.deviceFrame(0) },
      ],
    });
    return { kernel };
  },

  programs: [
    function desktop(cpu, shared, { applications, pages, libraries, devices, polls, bursts }) {
      const kernel = Kernel.start(cpu, shared.kernel);
      const stamps = new PrivateStamps(cpu, applications * pages);
      const spaces: number[] = [];
      for (let application = 0; application < applications; application++) {
        spaces.push(kernel.enterNewSpace());
        if (spaces.at(-1) === 0) cpu.panic("guest", "there is no address space for another application");
      }
      const registers = new Int32Array(devices * REGISTERS);
      for (let place = 0; place < registers.length; place++) registers[place] = cpu.load32(registerAt(place));
      while (cpu.running()) {
        const application = cpu.random(applications);
        kernel.spaces.switchTo(spaces[application] ?? 0);
        cpu.enterUserMode();
        for (let burst = 0; burst < bursts; burst++) run(application);
        cpu.enterKernelMode();
        for (let poll = 0; poll < polls; poll++) {
          const place = cpu.random(registers.length);
          const value = cpu.load32(registerAt(place));
          if (!cpu.wasDevice || value !== registers[place])
            cpu.violation("translation", `device register ${String(place)} reads as ${hex(value >>> 0)}`);
        }
        // Trimmed: what is shared stays in memory and comes back by a fault, what was its own is given up.
        const from = cpu.random(libraries - 7);
        kernel.memory.unmapPages(LIBRARIES + from * PAGE, 8);
        if (cpu.oneIn(2)) {
          const first = cpu.random(pages - 7);
          kernel.memory.unmapPages(WORKING_SET + first * PAGE, 8);
          for (let page = first; page < first + 8; page++) stamps.forgetPage(application * pages + page);
        }
      }

      /** A burst of work: some pages in a row of its own memory and of a library, most of them again and again. */
      function run(application: number): void {
        const first = cpu.random(pages - 5);
        const library = LIBRARIES + cpu.random(libraries - 5) * PAGE;
        for (let step = 0; step < 18; step++) {
          const page = first + (step % 6);
          const at = application * pages + page;
          const slot = cpu.random(PAGE_SLOTS);
          if (cpu.oneIn(3)) stamps.stampSlot(WORKING_SET + page * PAGE, at, slot, application);
          else stamps.checkSlot(WORKING_SET + page * PAGE, at, slot, 8);
          if (cpu.load32(library + (step % 6) * PAGE) !== 0)
            cpu.violation("memory", "a library that nobody writes is not as it was");
        }
      }
    },
  ],

  small: {
    vcpus: 2,
    options: { applications: 1, pages: 8, libraries: 8, devices: 1, polls: 1, bursts: 1 },
    machine: { ramPages: 600 },
  },
});

function registerAt(place: number): number {
  return DEVICES + Math.floor(place / REGISTERS) * PAGE + (place % REGISTERS) * REGISTER_BYTES;
}
