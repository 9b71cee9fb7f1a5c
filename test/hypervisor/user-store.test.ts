/** Stores to pagetables from user mode (spec 4.9 step 2, 20.34). */
import { describe, expect, test } from "vitest";
import { Status } from "../../src/machine/exits.ts";
import { FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf, gfnOf } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const PAGE = 0x1000_0000n;
const OTHER = 0x1800_0000n;

describe.each(FORMATS)("a store from user mode in a guest of %i levels", (levels) => {
  test("to a table that other addresses go through takes its shadow away and is made directly", () => {
    const machine = new TestMachine({ levels });
    machine.tables.map(OTHER, 0x81, USER_PAGE);
    const table = machine.tables.tableAt(OTHER, 1);
    machine.tables.map(PAGE, table, USER_PAGE);
    machine.cpu.boot();
    machine.cpu.read(OTHER);
    machine.cpu.enterUserMode();
    const before = machine.count("fault_emulate_failed");
    machine.cpu.write(PAGE + 0x800n, 0n);
    expect(machine.count("fault_emulate_failed")).toBe(before + 1);
    expect(machine.count("emulated_stores")).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("to the very table that maps it ends, and the entry is what was stored", () => {
    const machine = new TestMachine({ levels });
    const table = machine.tables.tableAt(PAGE, 1);
    machine.tables.map(PAGE, table, USER_PAGE);
    machine.cpu.boot();
    machine.cpu.enterUserMode();
    const next = machine.tables.entryAt(PAGE + 0x1000n, 1);
    const address = PAGE + BigInt(next % 4096);
    const { status } = machine.cpu.store(address, entryOf(0x82, USER_PAGE), entryBytes(levels));
    expect(status).toBe(Status.done);
    expect(gfnOf(machine.tables.read(next))).toBe(0x82);
    machine.cpu.write(PAGE + 0x1000n, 7n);
    expect(machine.ram.readWord(0x82000)).toBe(7);
    expect(machine.finish()).toEqual([]);
  });

  test("out of the very table that maps it may not go into a page of the kernel's", () => {
    const machine = new TestMachine({ levels });
    machine.tables.map(PAGE, machine.tables.tableAt(PAGE, 1), USER_PAGE);
    machine.tables.map(PAGE + 0x1000n, 0x82, KERNEL_PAGE);
    machine.cpu.boot();
    machine.cpu.enterUserMode();
    expect(machine.cpu.store(PAGE + 0xffen, 0x1122_3344n)).toMatchObject({
      status: Status.pageFault,
      errorCode: 7,
      cr2: PAGE + 0x1000n,
    });
    expect(machine.ram.readWord(0x82000)).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test.each([
    { what: "the table of its second page and a page", first: true, second: false },
    { what: "a page and the table of its first page", first: false, second: true },
    { what: "the tables of each other's page", first: true, second: true },
  ])("to two pages, $what, ends, and all its bytes are there", ({ first, second }) => {
    const machine = new TestMachine({ levels });
    const { tables, cpu } = machine;
    const before = PAGE - 0x1000n;
    tables.map(before, first ? tables.tableAt(PAGE, 1) : 0x82, USER_PAGE);
    tables.map(PAGE, second ? tables.tableAt(before, 1) : 0x83, USER_PAGE);
    cpu.boot();
    cpu.enterUserMode();
    cpu.write(before + 0xffen, 0x4433_2211n);
    expect(cpu.read(before + 0xffen)).toBe(0x4433_2211n);
    expect(machine.finish()).toEqual([]);
  });

  test("to a root that a vCPU runs on ends the domain", () => {
    const machine = new TestMachine({ levels });
    const root = levels === 3 ? machine.tables.tableAt(PAGE, 2) : machine.tables.root;
    machine.tables.map(PAGE, root, USER_PAGE);
    machine.cpu.boot();
    machine.cpu.enterUserMode();
    expect(machine.cpu.store(PAGE, 0n).status).toBe(Status.stopped);
    expect(machine.machine.domain.crashMessage()).toContain("root");
  });
});
