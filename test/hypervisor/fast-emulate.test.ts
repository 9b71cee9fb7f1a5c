/** Stores to pagetables in a row, emulated without the handler's walk and lock (spec 4.2), or without validation (5.4). */
import { describe, expect, test } from "vitest";
import { SkipVerify } from "../../src/hypervisor/shadow/skip-verify.ts";
import { readLockStatistics } from "../../src/locks/lock-statistics.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import { leafTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const WINDOW = 0x2000_0000n;
const TABLE = 0x90;
const PAGE = 0x80;

function withTable(levels: GuestLevels, switches = {}): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, switches: { prefetch: false, ...switches } });
  const { tables } = machine;
  tables.link(ADDRESS, 2, TABLE);
  for (let index = 0; index < 4; index++)
    tables.write(TABLE * 4096 + index * entryBytes(levels), entryOf(PAGE + index, USER_PAGE));
  tables.map(WINDOW, TABLE, KERNEL_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  for (let index = 0; index < 8; index++)
    machine.cpu.write(machine.direct((PAGE + index) * 4096), BigInt(0x100 + index));
  machine.cpu.read(ADDRESS);
  return machine;
}

function acquisitions({ machine }: TestMachine): number {
  return readLockStatistics(machine.memory, machine.layout, LOCK_NAMES.indexOf("paging")).acquisitions;
}

describe.each(FORMATS)("fast emulation for a %i-level guest", (levels) => {
  const bytes = entryBytes(levels);
  const fast = { "fast-emulate": true };

  test.each([
    ["with the lock", fast, 1, 1],
    ["without it", { ...fast, "unlocked-emulation": true }, 1, 1],
    ["with a cached translation", { ...fast, "translation-cache": true }, 0, 1],
    ["not at all, unless it is switched on", {}, 2, 1],
  ])("%s", (_, switches, walks, holds) => {
    const machine = withTable(levels, switches);
    const write = (gfn: number): void => machine.cpu.write(WINDOW, entryOf(gfn, USER_PAGE), bytes);
    write(PAGE + 1);
    const before = acquisitions(machine);
    expect(machine.countWhile("guest_walk", () => write(PAGE + 2))).toBe(walks);
    expect(acquisitions(machine)).toBe(before + holds);
    expect(machine.count("fault_fast_emulate")).toBe("fast-emulate" in switches ? 1 : 0);
    machine.cpu.invlpg(ADDRESS);
    expect(machine.cpu.read(ADDRESS)).toBe(0x102n);
    expect(machine.finish()).toEqual([]);
  });

  test.each([
    ["INVLPG", (machine: TestMachine) => machine.cpu.invlpg(ADDRESS + 0x9000n)],
    ["MOV CR3", (machine: TestMachine) => machine.cpu.cr3(machine.tables.cr3)],
    [
      "the end of a shadow on another vCPU",
      (machine: TestMachine) =>
        machine.locked((shadow) => shadow.unshadow.removeShadows(machine.frame(TABLE), false, true)),
    ],
    [
      "a fault of another kind on the page",
      (machine: TestMachine) => {
        machine.cpu.enterUserMode();
        machine.cpu.load(WINDOW);
        machine.cpu.enterKernelMode();
      },
    ],
  ])("is over after %s", (_, act) => {
    const machine = withTable(levels, fast);
    const write = (gfn: number): void => machine.cpu.write(WINDOW, entryOf(gfn, USER_PAGE), bytes);
    write(PAGE + 1);
    act(machine);
    expect(machine.countWhile("fault_fast_emulate", () => write(PAGE + 2))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("of a store that the guest's tables refuse by now is the guest's fault", () => {
    const machine = withTable(levels, fast);
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    cpu.write(WINDOW, entryOf(PAGE + 1, USER_PAGE), bytes);
    other.writeEntry(machine.tables.entryAt(WINDOW, 1), entryOf(TABLE, KERNEL_PAGE & ~Bit.w));
    expect(cpu.store(WINDOW, 0n, bytes).errorCode).toBe(3);
    expect(machine.count("fault_fast_emulate_fail")).toBe(1);
    expect(machine.finish()).toEqual([]);
  });
});

/** Takes every store for one over an absent entry. */
class Careless extends SkipVerify {
  override isHarmless(): boolean {
    return true;
  }
}

describe.each(FORMATS)("a store to a leaf table of a %i-level guest", (levels) => {
  const bytes = entryBytes(levels);
  const skip = { "skip-verify": true, "early-unshadow": false };
  const absent = WINDOW + 0x400n;

  test("is not validated if an absent entry goes over an absent one", () => {
    const machine = withTable(levels, skip);
    const skipped = (value: bigint): number =>
      machine.countWhile("write_skipped", () => machine.cpu.write(absent, value, bytes));
    expect(skipped(0x1000n)).toBe(1);
    expect(skipped(entryOf(PAGE + 5, USER_PAGE))).toBe(0);
    expect(skipped(0n)).toBe(0);
    expect(skipped(0n)).toBe(1);
    expect(machine.shadowOf(TABLE, leafTypeOf(levels))).not.toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("is validated if it is of the wrong half, or of two entries", () => {
    const machine = withTable(levels, skip);
    if (levels === 2) machine.cpu.write(absent + 4n, entryOf(PAGE + 5, USER_PAGE), 4);
    const wide = levels === 2 ? 8 : 4;
    const at = levels === 2 ? absent : absent + 4n;
    expect(machine.countWhile("write_skipped", () => machine.cpu.write(at, 0n, wide))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("that is skipped for no reason leaves a shadow behind: the audit sees it", () => {
    const machine = withTable(levels, skip);
    Object.assign(machine.shadow, { skipVerify: new Careless(machine.shadow) });
    machine.cpu.write(WINDOW, 0n, bytes);
    expect(machine.findings().join("\n")).toContain("is present, the guest's is not");
  });
});
