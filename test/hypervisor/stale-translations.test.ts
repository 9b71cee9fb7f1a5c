/** Translations that a TLB still holds after the tables behind it have changed. */
import { expect, test } from "vitest";
import { FORMATS, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

/** Pages of data, of which one becomes a table. */
const PAGE = 0x80;
const OTHER = 0x81;

test.each(FORMATS)(
  "a page that a TLB maps writable is out of it before it becomes a pagetable (%i levels)",
  (levels) => {
    const machine = TestMachine.running({ levels, vcpus: 2, switches: { prefetch: false } });
    const { tables } = machine;
    const [first, second] = [machine.cpuAt(0), machine.cpuAt(1)];
    const bytes = entryBytes(levels);
    first.writeEntry(tables.entryAt(0x1000n, 1), entryOf(PAGE, USER_PAGE));
    second.write(0x1000n, entryOf(OTHER, USER_PAGE), bytes);
    // The kernel takes the mapping away and is in no hurry to flush it. No leaf maps the page then.
    first.writeEntry(tables.entryAt(0x1000n, 1), 0n);
    const span = levels === 2 ? 22n : 21n;
    const above = 1n << span;
    first.writeEntry(tables.entryAt(above, 2), entryOf(PAGE, USER_PAGE));
    first.write(machine.direct(OTHER * 4096), 0x1111n);
    expect(first.read(above)).toBe(0x1111n);
    expect(machine.findings()).toEqual([]);
    const answer = second.store(0x1000n, 0n, bytes);
    expect({ status: answer.status, entry: first.read(machine.direct(PAGE * 4096)) & 0xfffn }).toEqual({
      status: 1,
      entry: USER_PAGE,
    });
  },
);

test.each(FORMATS)(
  "a page whose fault the guest is told of is in no TLB, though another page brought it to the emulator (%i levels)",
  (levels) => {
    const machine = TestMachine.running({ levels, switches: { prefetch: false } });
    const { tables, cpu } = machine;
    const leaf = tables.tableAt(0x1000n, 1);
    cpu.writeEntry(tables.entryAt(0x1000n, 1), entryOf(PAGE, USER_PAGE));
    cpu.writeEntry(tables.entryAt(0x2000n, 1), entryOf(leaf, USER_PAGE));
    cpu.write(0x1ffcn, 1n);
    // Not flushed, so a TLB may still serve the first page; the second is a table, and its store is emulated.
    cpu.writeEntry(tables.entryAt(0x1000n, 1), 0n);
    expect(cpu.store(0x1ffen, 0n)).toMatchObject({ status: 1, errorCode: 2, cr2: 0x1ffen });
    // An entry that was not present needs no flush.
    cpu.writeEntry(tables.entryAt(0x1000n, 1), entryOf(OTHER, USER_PAGE));
    cpu.write(machine.direct(OTHER * 4096 + 0xffc), 2n);
    expect(cpu.read(0x1ffcn)).toBe(2n);
    expect(machine.findings()).toEqual([]);
  },
);

test.each(FORMATS)("a frame taken from the guest is in no TLB (%i levels)", (levels) => {
  const machine = TestMachine.running({ levels, vcpus: 2 });
  const { tables } = machine;
  const [first, second] = [machine.cpuAt(0), machine.cpuAt(1)];
  first.writeEntry(tables.entryAt(0x1000n, 1), entryOf(PAGE, USER_PAGE));
  second.write(0x1000n, 1n);
  first.writeEntry(tables.entryAt(0x1000n, 1), 0n);
  machine.toolstack.removePage(PAGE);
  expect(machine.findings()).toEqual([]);
  expect(second.load(0x1000n)).toMatchObject({ status: 1, errorCode: 0 });
});
