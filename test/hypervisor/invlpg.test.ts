/** INVLPG: what it leaves to hardware, and what stands for a large page (spec 10.1). */
import { describe, expect, test } from "vitest";
import { LockSite } from "../../src/locks/lock-class.ts";
import { FORMATS, KERNEL_PAGE, USER_PAGE, entryOf, largePages } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const LARGE = 0x1080_0000n;
const PAGE = 0x80;

const hits = (machine: TestMachine, address: bigint): number =>
  machine.countWhile("tlb_hits", () => machine.cpu.read(address));

describe.each(FORMATS)("INVLPG in a %i-level guest", (levels) => {
  function withPages(): TestMachine {
    const machine = new TestMachine({ levels, vcpus: 2 });
    machine.tables.map(ADDRESS, PAGE, USER_PAGE);
    machine.tables.map(ADDRESS + 0x1000n, PAGE + 1, USER_PAGE);
    machine.tables.mapLarge(LARGE, 0, KERNEL_PAGE);
    for (const cpu of machine.cpus) cpu.boot();
    for (const address of [ADDRESS, ADDRESS + 0x1000n, LARGE, LARGE + 0x1000n]) machine.cpu.read(address);
    return machine;
  }

  test("drops the page, and no other, on this vCPU alone", () => {
    const machine = withPages();
    machine.cpuAt(1).read(ADDRESS);
    machine.cpu.invlpg(ADDRESS);
    expect([hits(machine, ADDRESS), hits(machine, ADDRESS + 0x1000n)]).toEqual([0, 1]);
    expect(machine.countWhile("tlb_hits", () => machine.cpuAt(1).read(ADDRESS))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("of any address in a large page drops all of it", () => {
    const machine = withPages();
    machine.cpu.invlpg(LARGE + BigInt((largePages(levels) - 1) * 4096));
    expect([hits(machine, LARGE), hits(machine, LARGE + 0x1000n)]).toEqual([0, 0]);
    expect(machine.finish()).toEqual([]);
  });

  test("of an address that has no table does nothing, and is counted", () => {
    const machine = withPages();
    expect(machine.countWhile("invlpg", () => machine.cpu.invlpg(0x7000_0000n))).toBe(1);
    expect(machine.countWhile("invlpg_fault", () => machine.cpu.invlpg(0x7000_0000n))).toBe(0);
    expect([hits(machine, ADDRESS), hits(machine, LARGE)]).toEqual([1, 1]);
    expect(machine.finish()).toEqual([]);
  });

  test("makes what the guest wrote to its table the truth", () => {
    const machine = withPages();
    machine.cpu.write(ADDRESS + 0x1000n, 0x22n);
    machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS, 1), entryOf(PAGE + 1, USER_PAGE));
    machine.cpu.invlpg(ADDRESS);
    expect(machine.cpu.read(ADDRESS)).toBe(0x22n);
    expect(machine.finish()).toEqual([]);
  });

  test("works with paging off, where all is one large page", () => {
    const machine = new TestMachine({ levels });
    machine.cpu.read(0x1000n);
    machine.cpu.read(0x2000n);
    machine.cpu.invlpg(0x1000n);
    expect(hits(machine, 0x2000n)).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

test("INVLPG that meets a table on its way out drops the page all the same, and counts", () => {
  const machine = TestMachine.running({ levels: 4 });
  machine.tables.map(ADDRESS, PAGE, USER_PAGE);
  machine.cpu.read(ADDRESS);
  const { tables, frames } = machine.shadow;
  tables.findLeaf(Number(ADDRESS), 0);
  const leaf = machine.shadow.frameIn((tables.leafCell >>> 10) << 12, 0);
  const type = frames.type(leaf);
  frames.setType(leaf, 0);
  expect(machine.countWhile("invlpg_fault", () => machine.cpu.invlpg(ADDRESS))).toBe(1);
  frames.setType(leaf, type);
  expect(machine.countWhile("tlb_hits", () => machine.cpu.read(ADDRESS))).toBe(0);
  expect(machine.finish()).toEqual([]);
});

test("INVLPG below a hole whose maker has yet to flush drops the page", () => {
  const machine = new TestMachine({ levels: 4, vcpus: 2 });
  machine.tables.map(ADDRESS, PAGE, USER_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  machine.cpu.read(ADDRESS);
  const { lock, unshadow } = machine.cpuAt(1).hosted.shadow;
  lock.acquire(LockSite.test);
  unshadow.unhook(machine.cpu.root());
  machine.cpu.invlpg(ADDRESS);
  lock.release();
  expect(hits(machine, ADDRESS)).toBe(0);
  expect(machine.finish()).toEqual([]);
});
