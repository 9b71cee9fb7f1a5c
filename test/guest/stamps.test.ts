/** The memory oracle: it accepts what some order of events allows, and each fault planted here is reported. */
import { beforeEach, describe, expect, it } from "vitest";
import type { KernelImage } from "../../src/guest/kernel/image.ts";
import type { Kernel } from "../../src/guest/kernel/kernel.ts";
import { PrivateStamps, Stamps, ledgerWords, lostStamps } from "../../src/guest/stamps.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { VcpuCell, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { GuestMachine } from "./guest-machine.ts";

const PAGE = 4096;
const FILE = 0x0100_0000;
const PAGES = 2;
/** The other vCPU, whose stores this test makes in its place. */
const WRITER = 1;
const SLOT_BYTES = 256 * WRITER;

let guest: GuestMachine;
let kernel: Kernel;
let image: KernelImage;
let stamps: Stamps;
let firstFrame: number;

beforeEach(() => {
  guest = new GuestMachine({ format: "pae", vcpus: 2 });
  firstFrame = guest.loader.consecutivePages(PAGES);
  kernel = guest.start({
    personality: "one-to-one",
    dataWords: ledgerWords(PAGES),
    areas: [{ start: FILE, pages: PAGES, backing: "object", firstFrame }],
  });
  image = kernel.image;
  kernel.enterNewSpace();
  stamps = new Stamps(guest.cpu, kernel.dataAddress(0), PAGES);
});

/** The other vCPU's stamp of a page, in one of the three steps in which it is made, or all of them. */
function otherStamps(
  page: number,
  sequence: number,
  steps: { begun?: number; word?: number; done?: number } = {},
): void {
  const { memory, layout } = guest.machine;
  memory.storeWord(vcpuArea(layout, vcpuId(WRITER)) + VcpuCell.stampBegun, steps.begun ?? sequence);
  const at = (firstFrame + page) * PAGE + SLOT_BYTES;
  guest.ram.writeWord(at, steps.word ?? sequence);
  guest.ram.writeWord(at + 4, 0x4000_0000 | (page << 5) | WRITER);
  guest.ram.writeWord(image.data + 4 * (page * 16 + WRITER), steps.done ?? sequence);
}

function look(page: number): void {
  stamps.checkPage(FILE + page * PAGE, page);
}

it("accepts what is there in any order that events can have", () => {
  look(0);
  stamps.stampPage(FILE, 0);
  look(0);
  otherStamps(0, 7, { done: 3 });
  look(0);
  otherStamps(0, 7);
  look(0);
  otherStamps(0, 9, { word: 7, done: 7 });
  look(0);
  stamps.stampPage(FILE + PAGE, 1);
  look(1);
  look(0);
  expect(guest.findings).toEqual([]);
});

describe("reports", () => {
  it("a word of another page", () => {
    otherStamps(1, 5);
    const at = (firstFrame + 1) * PAGE + SLOT_BYTES;
    guest.ram.writeWord(at + 4, 0x4000_0000 | WRITER);
    look(1);
    expect(guest.findings).toEqual([
      "memory: slot 1 of page 1 at 0x1001100 holds stamp 5 of vCPU 1 for page 0",
    ]);
  });

  it("a word that is no stamp", () => {
    guest.ram.writeWord(firstFrame * PAGE + SLOT_BYTES, 0xdead_f0f0 | 0);
    look(0);
    expect(guest.findings).toEqual([
      "memory: slot 1 of page 0 at 0x1000100 holds 0x0:0xdeadf0f0, which is no stamp",
    ]);
  });

  it("an old value, though this reader never saw a newer one", () => {
    otherStamps(0, 6, { word: 4 });
    look(0);
    expect(guest.findings).toEqual([
      "memory: slot 1 of page 0 at 0x1000100 holds stamp 4, but stamp 6 had been stored before the load",
    ]);
  });

  it("a value older than one that this reader saw", () => {
    otherStamps(0, 6, { done: 2 });
    look(0);
    otherStamps(0, 6, { word: 5, done: 2 });
    look(0);
    expect(guest.findings).toEqual([
      "memory: slot 1 of page 0 at 0x1000100 holds stamp 5, but stamp 6 was seen there before",
    ]);
  });

  it("a value from the future", () => {
    otherStamps(0, 6, { begun: 5, done: 5 });
    look(0);
    expect(guest.findings).toEqual([
      "memory: slot 1 of page 0 at 0x1000100 holds stamp 6, which its writer has not begun to store",
    ]);
  });

  it("a store of its own that was lost", () => {
    stamps.stampPage(FILE, 0);
    const last = stamps.stampPage(FILE, 0);
    guest.ram.writeWord(firstFrame * PAGE, last - 1);
    look(0);
    expect(guest.findings).toEqual([
      "memory: slot 0 of page 0 at 0x1000000 holds stamp 1, but stamp 2 had been stored before the load",
    ]);
  });

  it("a word that went back to zero", () => {
    otherStamps(0, 3);
    look(0);
    guest.ram.writeWord(firstFrame * PAGE + SLOT_BYTES, 0);
    guest.ram.writeWord(firstFrame * PAGE + SLOT_BYTES + 4, 0);
    look(0);
    expect(guest.findings).toEqual([
      "memory: slot 1 of page 0 at 0x1000100 holds stamp 0, but stamp 3 had been stored before the load",
    ]);
  });

  it("at the end, the stamps that memory lost", () => {
    stamps.stampPage(FILE, 0);
    stamps.stampPage(FILE + PAGE, 1);
    const at = { firstFrame, pages: PAGES, ledger: image.data };
    const rest = { ram: guest.ram, format: "pae", vcpus: 2 } as const;
    expect(lostStamps(rest, at)).toEqual([]);
    guest.ram.writeWord((firstFrame + 1) * PAGE, 1);
    expect(lostStamps(rest, at)).toEqual(["slot 0 of page 1 holds stamp 1, the last was 2"]);
  });
});

describe("pages that one vCPU uses", () => {
  it("hold exactly what was stored last, read in any size", () => {
    const own = new PrivateStamps(guest.cpu, PAGES);
    for (let round = 0; round < 300; round++) {
      own.stampSlot(FILE, 0, round % 16, 3);
      for (const size of [1, 2, 4, 8]) own.checkSlot(FILE, 0, (round * 7) % 16, size);
      own.checkSlot(FILE + PAGE, 1, round % 16, 8);
    }
    expect(guest.findings).toEqual([]);
  });

  it.each([
    { size: 1, byte: 1 },
    { size: 2, byte: 2 },
    { size: 4, byte: 4 },
    { size: 8, byte: 0 },
  ])("are seen to differ, read by $size bytes", ({ size, byte }) => {
    const own = new PrivateStamps(guest.cpu, PAGES);
    own.stampSlot(FILE, 0, 2, 3);
    guest.cpu.store8(FILE + 512 + byte, 0x77);
    own.checkSlot(FILE, 0, 2, size);
    expect(guest.findings).toHaveLength(1);
    expect(guest.findings[0]).toMatch(
      new RegExp(
        `^memory: slot 2 of page 0 at 0x1000200, read by ${String(size)} bytes, should hold stamp 1 of vCPU 0`,
      ),
    );
  });

  it("are zero again once they were given up", () => {
    const own = new PrivateStamps(guest.cpu, PAGES);
    own.stampSlot(FILE, 0, 2, 3);
    own.forgetPage(0);
    own.checkSlot(FILE, 0, 2, 8);
    expect(guest.findings).toEqual([
      "memory: slot 2 of page 0 at 0x1000200, read by 8 bytes, should hold zero and holds stamp 1 of vCPU 0 for page 3",
    ]);
  });
});
