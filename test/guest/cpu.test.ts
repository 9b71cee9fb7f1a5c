/** A vCPU as programs see it: addresses, faults, interrupts, and the ways out. */
import { expect, it } from "vitest";
import type { Cpu } from "../../src/guest/cpu.ts";
import { hex } from "../../src/guest/hex.ts";
import { GuestPanic, MachineStopped } from "../../src/guest/program-ends.ts";
import { Random } from "../../src/guest/random.ts";
import { runProgram } from "../../src/guest/run-program.ts";
import { defineScenario } from "../../src/guest/scenario.ts";
import type { Scenario } from "../../src/guest/scenario.ts";
import { Status } from "../../src/machine/exits.ts";
import { Doorbell } from "../../src/memory/vcpu-area.ts";
import { ring } from "../../src/memory/wait.ts";
import { GuestMachine } from "./guest-machine.ts";

const DATA = 0x0200_0000;
const kernel = { personality: "one-to-one", areas: [{ start: DATA, pages: 2 }] };

it.each(["2level", "pae", "4level"] as const)(
  "accesses memory in every size, also across pages (%s)",
  (format) => {
    const guest = new GuestMachine({ format });
    const { cpu } = guest;
    guest.start(kernel).enterNewSpace();
    cpu.store64(DATA + 8, 0x0403_0201, 0x0807_0605);
    expect([cpu.load8(DATA + 9), cpu.load16(DATA + 10), cpu.load32(DATA + 12)]).toEqual([
      2, 0x0403, 0x0807_0605,
    ]);
    expect([cpu.load64(DATA + 8), cpu.valueHigh]).toEqual([0x0403_0201, 0x0807_0605]);
    cpu.store32(DATA + 4094, 0x4433_2211);
    expect([cpu.load16(DATA + 4094), cpu.load16(DATA + 4096)]).toEqual([0x2211, 0x4433]);
    cpu.store8(DATA + 8, 0xff);
    cpu.store16(DATA + 14, 0xeeee);
    expect([cpu.load64(DATA + 8), cpu.valueHigh >>> 0]).toEqual([0x0403_02ff, 0xeeee_0605]);
    expect([cpu.compareExchange8(DATA, 1, 2), cpu.found]).toEqual([false, 0]);
    expect([cpu.compareExchange32(DATA, 0, 2), cpu.found, cpu.load32(DATA)]).toEqual([true, 0, 2]);
    expect([cpu.compareExchange64(DATA, 2, 0, 3, 4), cpu.load64(DATA), cpu.valueHigh]).toEqual([true, 3, 4]);
    expect([
      cpu.add32(DATA, 5),
      cpu.exchange32(DATA, 1),
      cpu.updateBits32(DATA, 1, 6),
      cpu.load32(DATA),
    ]).toEqual([3, 8, 1, 6]);
    expect(guest.findings).toEqual([]);
  },
);

it("reaches both ends of a 64-bit guest's address space", () => {
  const guest = new GuestMachine({ format: "4level" });
  const high = 0x0000_7fff_0000_0000;
  const { cpu } = guest;
  const { image } = guest.start({ ...kernel, areas: [{ start: high, pages: 1 }] });
  const lowest = image.map.kernelBase + 0x5000;
  expect(hex(lowest)).toBe("0xffff888000005000");
  cpu.store32(lowest, 77);
  expect(guest.ram.readWord(0x5000)).toBe(77);
  const kernelOnly = cpu.tryLoad(high, 4);
  expect([kernelOnly, cpu.vcpu.faultErrorCode, cpu.vcpu.faultHigh]).toEqual([Status.pageFault, 0, 0x7fff]);
  expect(cpu.tryLoad(2 ** 47, 4)).toBe(Status.generalProtection);
});

it("gives a fault that nobody handles to the report, and stops the guest", () => {
  const guest = new GuestMachine({ format: "pae" });
  guest.start(kernel);
  expect(() => guest.cpu.load32(0x1234)).toThrow(GuestPanic);
  expect(guest.findings).toEqual(["guest: page fault at 0x1234, error code 0x0, was not expected"]);
});

it("handles a fault in kernel mode and returns to the mode it came in", () => {
  const guest = new GuestMachine({ format: "pae" });
  const started = guest.start(kernel);
  started.enterNewSpace();
  guest.cpu.enterUserMode();
  guest.cpu.store32(DATA, 1);
  expect([guest.cpu.isUserMode, started.faults]).toEqual([true, 1]);
  expect(guest.cpu.tryLoad(started.dataAddress(0), 4)).toBe(Status.pageFault);
  expect(guest.cpu.vcpu.faultErrorCode).toBe(5);
});

it("runs until its operations are used up, or the run is over", () => {
  const guest = new GuestMachine({ format: "pae", operationsMax: 100 });
  const { cpu } = guest;
  let rounds = 0;
  for (; cpu.running(); rounds++) cpu.load32(0x1000);
  expect(rounds).toBe(100);
  const endless = new GuestMachine({ format: "pae" });
  expect(endless.cpu.running()).toBe(true);
  endless.isOver = true;
  expect(endless.cpu.running()).toBe(false);
});

it("keeps an interrupt that comes while they are off, and does not sleep over it", () => {
  const guest = new GuestMachine({ format: "pae" });
  const { cpu } = guest;
  const taken: number[] = [];
  cpu.setHandler({
    pageFault: () => false,
    deviceInterrupt: (vectors) => {
      taken.push(vectors);
    },
    goOffline: () => undefined,
  });
  cpu.disableInterrupts();
  cpu.sendInterrupt(0, 3);
  cpu.sendInterrupt(0, 1);
  cpu.load32(0x1000);
  cpu.halt();
  expect(taken).toEqual([]);
  cpu.enableInterrupts();
  expect(taken).toEqual([0b1010]);
});

it("ends each program as it should", () => {
  expect(endOf(() => undefined)).toBe("finished");
  expect(endOf((cpu) => cpu.panic("guest", "enough"))).toBe("panicked");
  expect(
    endOf((cpu) => {
      ring(cpu.vcpu.memory, cpu.vcpu.area, Doorbell.stop);
      cpu.load32(0x1000);
    }),
  ).toBe("stopped");
  expect(() =>
    endOf(() => {
      throw new RangeError("of the program's own");
    }),
  ).toThrow(RangeError);
  expect(new MachineStopped().message).toBe("the machine stopped");
});

it("draws the same numbers from the same seed, and others for every vCPU", () => {
  expect(draw(5, 0)).toEqual(draw(5, 0));
  const streams = [draw(5, 0), draw(5, 1), draw(6, 0), draw(0, 0), draw(-1, 3)];
  expect(new Set(streams.map(String)).size).toBe(streams.length);
  const random = new Random(9, 9);
  const hits = new Int32Array(8);
  for (let count = 0; count < 80_000; count++) {
    const number = random.below(8);
    hits[number] = (hits[number] ?? 0) + 1;
  }
  expect(hits.every((count) => count > 9_500 && count < 10_500)).toBe(true);
  expect([random.below(1), random.below(0)]).toEqual([0, 0]);
});

function scenarioOf(program: (cpu: Cpu) => void): Scenario {
  return defineScenario({
    name: "ends",
    about: "a program ends",
    guests: ["pae"],
    vcpus: { min: 1, max: 1, default: 1 },
    options: {},
    boot: () => ({}),
    programs: [program],
  });
}

/** How a program that does this ends. */
function endOf(program: (cpu: Cpu) => void): string {
  const guest = new GuestMachine({ format: "pae" });
  return runProgram(guest.cpu, { scenario: scenarioOf(program), shared: {}, options: {} });
}

function draw(seed: number, stream: number): number[] {
  const random = new Random(seed, stream);
  return Array.from({ length: 8 }, () => random.below(1000));
}
