import { Grant, Kernel, PERSONALITIES, Probe, SwitchedPages, defineScenario, hex } from "umbra";

const PAGE = 4096;
const DEVICES = 0x0b00_0000;
const SWITCHED = 0x0c00_0000;
const REGISTERS = 8;
const SPACE_KEY = 4;
const GRANTS = [
  0,
  Grant.present | Grant.user | Grant.writable,
  Grant.present | Grant.user | Grant.writable | Grant.device,
];

/** Drivers poll devices; other pages show memory now and a device then, so what is remembered of them must go away. */
export default defineScenario({
  name: "mmio-polling",
  about: "vCPUs poll device registers, beside pages that change between memory and device",
  slide: "the fast path for MMIO: spec 4.3, 4.4, 12.3",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 4 },
  options: { map: "one-to-one", devices: 4, pages: 16 },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { pages }) => ({ ramPages: 400 + pages + 32 * vcpus }),

  boot(loader, { map, devices, pages }) {
    const firstFrame = loader.consecutivePages(pages);
    const firstDevice = loader.deviceFrame(0);
    const kernel = loader.kernel({
      personality: map,
      dataWords: pages,
      areas: [
        { start: DEVICES, pages: devices, backing: "device", firstFrame: loader.deviceFrame(pages) },
        { start: SWITCHED, pages, backing: "manual" },
      ],
    });
    return { kernel, setup: { start: SWITCHED, pages, states: 0, firstFrame, firstDevice } };
  },

  programs: [
    function driver(cpu, shared, { devices, pages }) {
      const kernel = Kernel.start(cpu, shared.kernel);
      const switched = new SwitchedPages(kernel, shared.setup);
      kernel.enterSharedSpace(SPACE_KEY);
      kernel.meet();
      const registers = new Int32Array(devices * REGISTERS);
      for (let place = 0; place < registers.length; place++)
        registers[place] = cpu.load32(registerAddress(place));
      while (cpu.running()) {
        for (let poll = 0; poll < 12; poll++) {
          const place = cpu.random(registers.length);
          const value = cpu.load32(registerAddress(place));
          if (!cpu.wasDevice || value !== registers[place]) {
            const what = cpu.wasDevice ? "" : ", answered by memory";
            cpu.violation(
              "translation",
              `device register ${String(place)} reads as ${hex(value >>> 0)}${what}`,
            );
          }
          if (cpu.oneIn(4)) cpu.store32(registerAddress(place), value);
          switched.probe(cpu.random(pages), cpu.oneIn(3) ? Probe.store : Probe.load, cpu.oneIn(2));
        }
        const mine = cpu.id + cpu.vcpus * cpu.random(Math.ceil(pages / cpu.vcpus));
        if (mine < pages) switched.grant(mine, GRANTS[cpu.random(GRANTS.length)] ?? 0);
        if (cpu.oneIn(8)) kernel.memory.unmapPages(DEVICES + cpu.random(devices) * PAGE, 1);
      }
      kernel.exitSharedSpace(SPACE_KEY);
    },
  ],

  small: { vcpus: 2, options: { devices: 1, pages: 1 }, machine: { ramPages: 500 } },
});

/** Registers lie 64 bytes apart. */
function registerAddress(place: number): number {
  return DEVICES + Math.floor(place / REGISTERS) * PAGE + (place % REGISTERS) * 64;
}
