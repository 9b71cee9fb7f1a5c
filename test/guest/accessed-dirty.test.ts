/** The oracle of A and D: silent about what the hypervisor does, and about what it may do; loud about what it must not. */
import { expect, it } from "vitest";
import { AccessOracle } from "../../src/guest/accessed-dirty.ts";
import { EntryFlag } from "../../src/machine/entry.ts";
import { GuestMachine } from "./guest-machine.ts";

const DATA = 0x0200_0000;
const PAGE = 4096;

/** A kernel's answers, with D or A taken out of what it reads. */
function losing(bits: number, memory: { harvestAccess(a: number): number; leafEntry(a: number): number }) {
  return {
    harvestAccess: (address: number): number => memory.harvestAccess(address),
    leafEntry: (address: number): number => memory.leafEntry(address) & ~bits,
  };
}

function start(format: "2level" | "pae" | "4level") {
  const guest = new GuestMachine({ format });
  const kernel = guest.start({ personality: "one-to-one", areas: [{ start: DATA, pages: 2 }] });
  kernel.enterNewSpace();
  guest.cpu.store32(DATA, 1);
  guest.cpu.store32(DATA + PAGE, 1);
  return { guest, kernel };
}

it.each(["2level", "pae", "4level"] as const)("finds nothing wrong with a %s guest's bits", (format) => {
  const { guest, kernel } = start(format);
  const oracle = new AccessOracle(guest.cpu, kernel.memory, 2);
  for (let round = 0; round < 200; round++) {
    const page = round % 2;
    oracle.cleanPage(DATA + page * PAGE, page);
    if (round % 3 === 0) guest.cpu.store32(DATA + page * PAGE, round);
    oracle.checkPage(DATA, 0);
    oracle.checkPage(DATA + PAGE, 1);
    if (round % 50 === 49) {
      kernel.memory.unmapPages(DATA, 1);
      oracle.forgetPage(0);
      guest.cpu.store32(DATA, round);
    }
  }
  expect(guest.findings).toEqual([]);
});

it("reports a page that was written and has no D", () => {
  const { guest, kernel } = start("pae");
  const oracle = new AccessOracle(guest.cpu, losing(EntryFlag.dirty, kernel.memory), 2);
  oracle.cleanPage(DATA, 0);
  oracle.checkPage(DATA, 0);
  expect(guest.findings).toEqual([]);
  guest.cpu.store32(DATA + 256, 7);
  oracle.checkPage(DATA, 0);
  expect(guest.findings).toEqual([
    "accessed-dirty: page 0 at 0x2000000 was written in slot 1 and its entry lacks D",
  ]);
});

it("reports a page that was read and has no A", () => {
  const { guest, kernel } = start("4level");
  const oracle = new AccessOracle(guest.cpu, losing(EntryFlag.accessed, kernel.memory), 2);
  oracle.cleanPage(DATA, 0);
  oracle.checkPage(DATA, 0);
  expect(guest.findings).toEqual([
    "accessed-dirty: page 0 at 0x2000000 has just been read and its entry lacks A",
  ]);
});
