/** Walks and translations without the lock: what other vCPUs do before the lock is taken must not be lost (spec 4.6, 5.1). */
import { describe, expect, test } from "vitest";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { LockFreeWalk } from "../../src/hypervisor/shadow/lock-free-walk.ts";
import { readLockStatistics } from "../../src/locks/lock-statistics.ts";
import { Status } from "../../src/machine/exits.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import { FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";
import type { TestCpu } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const WINDOW = 0x2000_0000n;
const TABLE = 0x90;
const PAGE = 0x80;
const BOTH = { "lock-free-walk": true, "unlocked-emulation": true } as const;

/** Two vCPUs; the table of `ADDRESS` can be written at `WINDOW`, and is no pagetable yet. */
function withTable(levels: GuestLevels, switches = {}): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, switches: { prefetch: false, ...BOTH, ...switches } });
  const { tables } = machine;
  tables.link(ADDRESS, 2, TABLE);
  for (let index = 0; index < 4; index++)
    tables.write(TABLE * 4096 + index * entryBytes(levels), entryOf(PAGE + index, USER_PAGE));
  tables.map(WINDOW, TABLE, KERNEL_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  for (let index = 0; index < 8; index++)
    machine.cpu.write(machine.direct((PAGE + index) * 4096), BigInt(0x100 + index));
  return machine;
}

/** Has `act` done once, right after the vCPU's next walk of the guest's tables but before it does anything with it. */
function afterNextWalk({ hosted }: TestCpu, act: () => void): void {
  const { guest } = hosted.shadow;
  const walk = guest.walk.bind(guest);
  guest.walk = (low, high, access, alignmentCheck): boolean => {
    const passed = walk(low, high, access, alignmentCheck);
    guest.walk = walk;
    act();
    return passed;
  };
}

/** The same after the emulator's own walk, which is the second of its fault. */
function duringEmulation(cpu: TestCpu, act: () => void): void {
  afterNextWalk(cpu, () => afterNextWalk(cpu, act));
}

function acquisitions({ machine }: TestMachine): number {
  return readLockStatistics(machine.memory, machine.layout, LOCK_NAMES.indexOf("paging")).acquisitions;
}

/** Trusts every walk, whatever has happened since. */
class Credulous extends LockFreeWalk {
  override isTrusted(): boolean {
    return true;
  }

  override isLeafStillTrue(): boolean {
    return true;
  }
}

function makeCredulous(shadow: Shadow): void {
  Object.assign(shadow, { freeWalk: new Credulous(shadow) });
}

describe.each(FORMATS)("without the lock, a %i-level guest's walk", (levels) => {
  const bytes = entryBytes(levels);

  test("that the guest's own tables refuse takes no lock at all", () => {
    const machine = withTable(levels, { "fast-fault-path": false });
    machine.cpu.read(ADDRESS);
    const unmapped = ADDRESS + 0x10_000n;
    const before = acquisitions(machine);
    expect(machine.cpu.load(unmapped).status).toBe(Status.pageFault);
    expect(acquisitions(machine)).toBe(before);
    const locked = withTable(levels, { "fast-fault-path": false, "lock-free-walk": false });
    const earlier = acquisitions(locked);
    expect(locked.cpu.load(unmapped).status).toBe(Status.pageFault);
    expect(acquisitions(locked)).toBe(earlier + 1);
  });

  test("is made again when another vCPU's emulated store came between", () => {
    const machine = withTable(levels);
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    other.read(ADDRESS + 0x1000n);
    afterNextWalk(cpu, () => other.write(WINDOW, entryOf(PAGE + 5, USER_PAGE), bytes));
    expect(machine.countWhile("inconsistent_gwalk", () => expect(cpu.read(ADDRESS)).toBe(0x105n))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("is made again when a direct store to a table that was none came between", () => {
    const machine = withTable(levels);
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    other.read(WINDOW);
    afterNextWalk(cpu, () => other.write(WINDOW, entryOf(PAGE + 5, USER_PAGE), bytes));
    expect(machine.countWhile("inconsistent_gwalk", () => expect(cpu.read(ADDRESS)).toBe(0x105n))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("is only compared when something else changed", () => {
    const machine = withTable(levels);
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    other.read(ADDRESS + 0x1000n);
    other.read(WINDOW);
    afterNextWalk(cpu, () => other.write(WINDOW + BigInt(bytes), entryOf(PAGE + 5, USER_PAGE), bytes));
    expect(machine.countWhile("check_gwalk", () => expect(cpu.read(ADDRESS)).toBe(0x100n))).toBe(1);
    expect(machine.count("inconsistent_gwalk")).toBe(0);
    expect(machine.countWhile("check_gwalk", () => cpu.read(ADDRESS + 0x2000n))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("is made again when its table has been moved to another frame", () => {
    const machine = withTable(levels);
    machine.cpuAt(1).read(ADDRESS + 0x1000n);
    afterNextWalk(machine.cpu, () => machine.toolstack.movePage(TABLE));
    expect(machine.countWhile("inconsistent_gwalk", () => machine.cpu.read(ADDRESS))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("that loses D to another vCPU's A is not taken for one that has set it", () => {
    const machine = withTable(levels);
    const at = TABLE * 4096;
    machine.tables.write(at, entryOf(PAGE, USER_PAGE & ~0x60n));
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    other.read(ADDRESS + 0x1000n);
    // Between the read of the entry and the compare-exchange that sets A and D in it.
    const { memory } = machine.machine;
    const leaf = (machine.frame(TABLE) << 10) | 0;
    const before = memory.compareExchangeEntry.bind(memory);
    const beforeWord = memory.compareExchangeWord.bind(memory);
    const view = cpu.hosted.shadow.memory;
    let isDue = true;
    const come = (cell: number): void => {
      if (cell !== leaf || !isDue) return;
      isDue = false;
      other.read(ADDRESS);
    };
    view.compareExchangeEntry = (cell, ...rest): boolean => (come(cell), before(cell, ...rest));
    view.compareExchangeWord = (cell, ...rest): number => (come(cell), beforeWord(cell, ...rest));
    cpu.write(ADDRESS, 1n);
    expect(isDue).toBe(false);
    expect(machine.tables.read(at) & 0x60n).toBe(0x60n);
    expect(machine.count("inconsistent_gwalk")).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("that is trusted blindly leaves a shadow that grants what the guest does not: the audit sees it", () => {
    const machine = withTable(levels);
    const [cpu, other] = [machine.cpuAt(0), machine.cpuAt(1)];
    makeCredulous(cpu.hosted.shadow);
    other.read(ADDRESS + 0x1000n);
    afterNextWalk(cpu, () => other.write(WINDOW, 0n, bytes));
    cpu.load(ADDRESS);
    expect(machine.findings().join("\n")).toContain("is present, the guest's is not");
  });
});

describe.each(FORMATS)("the emulator of a %i-level guest, translating without the lock,", (levels) => {
  const bytes = entryBytes(levels);

  test("stores where the page is by then", () => {
    const machine = withTable(levels);
    const { cpu } = machine;
    cpu.read(ADDRESS);
    duringEmulation(cpu, () => machine.toolstack.movePage(TABLE));
    cpu.write(WINDOW, entryOf(PAGE + 3, USER_PAGE), bytes);
    expect(machine.tables.read(TABLE * 4096)).toBe(entryOf(PAGE + 3, USER_PAGE));
    cpu.invlpg(ADDRESS);
    expect(cpu.read(ADDRESS)).toBe(0x103n);
    expect(machine.finish()).toEqual([]);
  });

  test("stores to a page that is no pagetable any more, and does no harm", () => {
    const machine = withTable(levels);
    const { cpu } = machine;
    cpu.read(ADDRESS);
    duringEmulation(cpu, () =>
      machine.locked((shadow) => shadow.unshadow.removeShadows(machine.frame(TABLE), false, true)),
    );
    cpu.write(WINDOW, entryOf(PAGE + 3, USER_PAGE), bytes);
    expect(machine.tables.read(TABLE * 4096)).toBe(entryOf(PAGE + 3, USER_PAGE));
    expect(cpu.read(ADDRESS)).toBe(0x103n);
    expect(machine.finish()).toEqual([]);
  });

  test("takes the lock once for the fault and once for the store", () => {
    const machine = withTable(levels);
    machine.cpu.read(ADDRESS);
    machine.cpu.write(WINDOW, entryOf(PAGE + 3, USER_PAGE), bytes);
    const before = acquisitions(machine);
    machine.cpu.write(WINDOW, entryOf(PAGE + 4, USER_PAGE), bytes);
    expect(acquisitions(machine)).toBe(before + 2);
    const locked = withTable(levels, { "unlocked-emulation": false });
    locked.cpu.read(ADDRESS);
    locked.cpu.write(WINDOW, entryOf(PAGE + 3, USER_PAGE), bytes);
    const earlier = acquisitions(locked);
    locked.cpu.write(WINDOW, entryOf(PAGE + 4, USER_PAGE), bytes);
    expect(acquisitions(locked)).toBe(earlier + 1);
  });
});
