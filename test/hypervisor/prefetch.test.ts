/** Entries filled behind a demand fault (spec 8). */
import { describe, expect, test } from "vitest";
import { Status } from "../../src/machine/exits.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;

/** A guest whose table maps pages from a slot on, all ready for use but for `change`. */
function withPages(
  levels: GuestLevels,
  first: number,
  change: (machine: TestMachine, at: (index: number) => number) => void = (): void => undefined,
  switches = {},
): TestMachine {
  const machine = new TestMachine({ levels, switches });
  const { tables } = machine;
  const bytes = entryBytes(levels);
  const table = tables.tableAt(ADDRESS, 1);
  const at = (index: number): number => table * 4096 + (first + index) * bytes;
  for (let index = 0; index < 40 && first + index < 4096 / bytes; index++)
    tables.write(at(index), entryOf(PAGE + (index % 64), USER_PAGE));
  change(machine, at);
  machine.cpu.boot();
  return machine;
}

/** Loads a page and says how many pages behind it are there without a fault. */
function filledBehind(machine: TestMachine, first: number): number {
  const page = (index: number): bigint => ADDRESS + (BigInt(first + index) << 12n);
  machine.cpu.read(page(0));
  let filled = 0;
  while (machine.countWhile("demand_faults", () => machine.cpu.load(page(filled + 1))) === 0) filled++;
  return filled;
}

describe.each(FORMATS)("prefetch in a %i-level guest", (levels) => {
  test("fills 31 entries behind the one that was asked for", () => {
    const machine = withPages(levels, 3);
    expect(filledBehind(machine, 3)).toBe(31);
    expect(machine.finish()).toEqual([]);
  });

  test("stops at the end of the shadow page, for a 32-bit guest in the middle of its table", () => {
    const last = withPages(levels, 500);
    expect(filledBehind(last, 500)).toBe(11);
    expect(last.finish()).toEqual([]);
  });

  test.each([
    { what: "A clear", flags: USER_PAGE & ~Bit.a },
    { what: "RW set and D clear", flags: USER_PAGE & ~Bit.d },
  ])("stops at an entry with $what, which would need a fault anyway", ({ flags }) => {
    const machine = withPages(levels, 0, ({ tables }, at) => tables.write(at(5), entryOf(PAGE, flags)));
    expect(filledBehind(machine, 0)).toBe(4);
    expect(machine.finish()).toEqual([]);
  });

  test("goes on over entries that are not present, and over read-only ones that are clean", () => {
    const machine = withPages(levels, 0, ({ tables }, at) => {
      tables.write(at(2), 0n);
      tables.write(at(3), entryOf(PAGE, Bit.p | Bit.a));
    });
    machine.cpu.read(ADDRESS);
    expect(machine.countWhile("fault_fast_gnp", () => machine.cpu.load(ADDRESS + 0x2000n))).toBe(1);
    expect(machine.countWhile("demand_faults", () => machine.cpu.load(ADDRESS + 0x4000n))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("stops at an entry that is not zero, be it only a leftover", () => {
    const machine = withPages(levels, 0);
    machine.cpu.read(ADDRESS + 0x6000n);
    machine.cpu.read(ADDRESS);
    machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS + 0x3000n, 1), entryOf(PAGE, USER_PAGE & ~Bit.a));
    machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS + 0x2000n, 1), entryOf(PAGE, USER_PAGE & ~Bit.a));
    machine.cpu.invlpg(ADDRESS + 0x2000n);
    expect(machine.countWhile("prefetch", () => machine.cpu.read(ADDRESS + 0x2000n))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("maps nothing for entries with reserved bits, and goes on", () => {
    const reserved = levels === 2 ? 0n : 1n << 45n;
    const machine = withPages(levels, 0, ({ tables }, at) =>
      tables.write(at(2), entryOf(PAGE, USER_PAGE | reserved)),
    );
    machine.cpu.read(ADDRESS);
    expect(machine.cpu.load(ADDRESS + 0x2000n)).toMatchObject(
      levels === 2 ? { status: Status.done } : { status: Status.pageFault, errorCode: 9 },
    );
    expect(machine.countWhile("demand_faults", () => machine.cpu.load(ADDRESS + 0x3000n))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("gives no right to write to a pagetable", () => {
    const machine = withPages(levels, 0, ({ tables }, at) =>
      tables.write(at(1), entryOf(tables.tableAt(ADDRESS, 1), KERNEL_PAGE)),
    );
    machine.cpu.read(ADDRESS);
    expect(machine.countWhile("emulated_stores", () => machine.cpu.write(ADDRESS + 0x1800n, 0n))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("fills devices too", () => {
    const machine = withPages(levels, 0, ({ tables }, at) =>
      tables.write(at(1), entryOf(0x5000, KERNEL_PAGE)),
    );
    machine.cpu.read(ADDRESS);
    expect(machine.countWhile("fault_fast_mmio", () => machine.cpu.load(ADDRESS + 0x1000n))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("fills pages of a large page, up to its end", () => {
    const machine = TestMachine.running({ levels });
    machine.cpu.read(machine.direct(0x40 * 4096));
    for (let page = 1; page < 32; page++)
      expect(
        machine.countWhile("demand_faults", () => machine.cpu.read(machine.direct((0x40 + page) * 4096))),
      ).toBe(0);
    expect(machine.countWhile("demand_faults", () => machine.cpu.read(machine.direct(0x60 * 4096)))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("does not happen when it is switched off", () => {
    const machine = withPages(levels, 0, undefined, { prefetch: false });
    expect([filledBehind(machine, 0), machine.count("prefetch")]).toEqual([0, 0]);
    expect(machine.finish()).toEqual([]);
  });
});
