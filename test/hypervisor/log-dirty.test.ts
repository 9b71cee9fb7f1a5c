/** Which pages are dirty, and what every way to ask for them answers (spec 11). */
import { describe, expect, test } from "vitest";
import { DomainCell, DomctlAnswer } from "../../src/memory/domain-area.ts";
import { FORMATS, KERNEL_PAGE, USER_PAGE, entryOf } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";
import type { Setup } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
const PAGES = 256;
/** Both modes of assistance answer alike. */
const MACHINES = (["shadow", "hap"] as const).flatMap((paging) =>
  FORMATS.map((levels) => ({ paging, levels })),
);
const HARVESTS = ["clean", "cleanRunning"] as const;

/** A guest with eight pages mapped side by side, used by both vCPUs, that is about to be migrated. */
function logged(setup: Partial<Setup> = {}): TestMachine {
  const machine = new TestMachine({ levels: 4, vcpus: 2, poolPages: 300, ...setup });
  for (let page = 0; page < 8; page++) machine.tables.map(at(page), PAGE + page, USER_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  for (const cpu of machine.cpus) for (let page = 0; page < 8; page++) cpu.write(at(page), 1n);
  expect(machine.toolstack.dirty.enable()).toBe(DomctlAnswer.done);
  return machine;
}

function at(page: number): bigint {
  return ADDRESS + BigInt(page * 4096);
}

function bitmap(): Int32Array {
  return new Int32Array(PAGES / 32);
}

/** Gfns whose bit is set. */
function gfnsIn(bits: Int32Array): number[] {
  return Array.from({ length: bits.length * 32 }, (_, gfn) => gfn).filter(
    (gfn) => (((bits[gfn >>> 5] ?? 0) >>> (gfn & 31)) & 1) !== 0,
  );
}

function harvest(machine: TestMachine, how: (typeof HARVESTS)[number] = "clean"): number[] {
  const bits = bitmap().fill(-1);
  expect(machine.toolstack.dirty[how](bits)).toBe(DomctlAnswer.done);
  const gfns = gfnsIn(bits);
  expect(machine.toolstack.dirty.dirtyPages).toBe(gfns.length);
  return gfns;
}

describe.each(MACHINES)("$paging, $levels levels", (setup) => {
  test("what was written before is clean, and what is only read stays so", () => {
    const machine = logged(setup);
    for (let page = 0; page < 8; page++) machine.cpu.read(at(page));
    expect(harvest(machine)).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });

  test.each(HARVESTS)("each harvest (%s) has what was written since the last, by whomever", (how) => {
    const machine = logged(setup);
    const [first, second] = machine.cpus;
    first?.write(at(0), 1n);
    second?.write(at(3), 1n);
    expect(harvest(machine, how)).toEqual([PAGE, PAGE + 3]);
    first?.write(at(3), 2n);
    first?.write(at(3), 3n);
    second?.exchange(at(5), 1n, 2n);
    expect(harvest(machine, how)).toEqual([PAGE + 3, PAGE + 5]);
    expect(harvest(machine, how)).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });

  test("a look at the marks leaves them", () => {
    const machine = logged(setup);
    machine.cpu.write(at(1), 1n);
    const bits = bitmap();
    for (let time = 0; time < 2; time++) {
      expect(machine.toolstack.dirty.peek(bits)).toBe(DomctlAnswer.done);
      expect([gfnsIn(bits), machine.toolstack.dirty.dirtyPages]).toEqual([[PAGE + 1], 1]);
    }
    expect(machine.toolstack.dirty.faults).toBeGreaterThan(0);
    expect(harvest(machine)).toEqual([PAGE + 1]);
    expect(machine.finish()).toEqual([]);
  });

  test("a store to a pagetable is logged, and so are A and D that a walk sets", () => {
    const machine = logged(setup);
    const entry = machine.tables.entryAt(at(0), 1);
    const table = Math.floor(entry / 4096);
    machine.cpu.write(at(7), 1n);
    machine.cpu.writeEntry(entry, entryOf(PAGE, KERNEL_PAGE & ~0x60n));
    expect(harvest(machine)).toEqual([table, PAGE + 7].toSorted((a, b) => a - b));
    machine.cpu.invlpg(at(0));
    machine.cpu.read(at(0));
    expect(harvest(machine)).toEqual([table]);
    machine.cpu.write(at(0), 1n);
    expect(harvest(machine)).toEqual([table, PAGE].toSorted((a, b) => a - b));
    expect(machine.finish()).toEqual([]);
  });

  test("what a device writes is logged, and what the toolstack does to the p2m", () => {
    const machine = logged(setup);
    machine.toolstack.deviceWrite((PAGE + 2) * 4096, 1);
    expect(harvest(machine)).toEqual([PAGE + 2]);
    machine.toolstack.movePage(PAGE + 3);
    expect(harvest(machine)).toEqual([]);
    machine.toolstack.removePage(PAGE + 4);
    expect(harvest(machine)).toEqual([PAGE + 4]);
    machine.toolstack.addPage(PAGE + 4);
    expect(harvest(machine)).toEqual([PAGE + 4]);
    expect(machine.finish()).toEqual([]);
  });

  test("a domain that is taken apart while it is logged leaves nothing", () => {
    const machine = logged(setup);
    machine.cpu.write(at(1), 1n);
    machine.toolstack.dirty.takeMarks();
    machine.cpu.write(at(2), 1n);
    expect(machine.finish()).toEqual([]);
  });

  test("switched off, nothing is logged and nothing is left", () => {
    const machine = logged(setup);
    machine.cpu.write(at(1), 1n);
    const { domain } = machine.machine;
    const lent = domain.read(DomainCell.p2mPages);
    expect(machine.toolstack.dirty.disable()).toBe(DomctlAnswer.done);
    machine.cpu.write(at(2), 1n);
    expect(domain.read(DomainCell.p2mPages)).toBe(lent - 4);
    expect(machine.toolstack.dirty.enable()).toBe(DomctlAnswer.done);
    expect(harvest(machine)).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each(FORMATS)("shadows of %i levels", (levels) => {
  test("prefetch maps a clean page read-only, a dirty one as the guest has it", () => {
    const machine = logged({ levels });
    machine.cpu.write(at(1), 1n);
    machine.cpu.write(at(2), 1n);
    expect(machine.countWhile("fault", () => machine.cpu.write(at(1), 2n))).toBe(0);
    expect(machine.countWhile("fault", () => machine.cpu.write(at(3), 2n))).toBe(1);
    expect(harvest(machine)).toEqual([PAGE + 1, PAGE + 2, PAGE + 3]);
    expect(machine.finish()).toEqual([]);
  });
});

describe("what cannot be done is refused, and changes nothing", () => {
  test("to switch on what is on; to harvest, look at, or switch off what is off", () => {
    const machine = logged();
    const { dirty } = machine.toolstack;
    expect(dirty.enable()).toBe(DomctlAnswer.wrongMode);
    expect(dirty.disable()).toBe(DomctlAnswer.done);
    const refused = [
      dirty.disable(),
      dirty.peek(bitmap()),
      dirty.clean(bitmap()),
      dirty.cleanRunning(bitmap()),
    ];
    expect(refused).toEqual(refused.map(() => DomctlAnswer.wrongMode));
    expect(machine.finish()).toEqual([]);
  });

  test.each([0, 7, 9])("a bitmap of %i words for 256 pages", (words) => {
    const machine = logged();
    const { dirty } = machine.toolstack;
    machine.cpu.write(at(1), 1n);
    const bits = new Int32Array(words).fill(-1);
    const refused = [dirty.peek(bits), dirty.clean(bits), dirty.cleanRunning(bits)];
    expect(refused).toEqual(refused.map(() => DomctlAnswer.badBitmap));
    expect(bits.every((word) => word === -1)).toBe(true);
    expect(harvest(machine)).toEqual([PAGE + 1]);
    expect(machine.finish()).toEqual([]);
  });

  test("anything on a dying domain, and on one that is taken apart", () => {
    const machine = logged();
    machine.cpu.write(at(1), 1n);
    const { dirty } = machine.toolstack;
    const all = (): number[] => [
      dirty.enable(),
      dirty.disable(),
      dirty.peek(bitmap()),
      dirty.clean(bitmap()),
      dirty.cleanRunning(bitmap()),
    ];
    machine.toolstack.beginDestroy();
    expect(all()).toEqual(all().map(() => DomctlAnswer.dying));
    expect(machine.toolstack.setAllocation(1000)).toBe(machine.toolstack.allocation());
    expect(machine.teardown()).toEqual([]);
    expect(all()).toEqual(all().map(() => DomctlAnswer.dying));
  });

  test("a domain to itself, until its vCPU has ended", () => {
    const machine = logged();
    const own = machine.machine.controlBy(machine.cpu.hosted).dirty;
    // Until now it is paused, for logging has just begun.
    machine.cpu.read(at(0));
    const refused = [own.enable(), own.disable(), own.peek(bitmap()), own.clean(bitmap())];
    expect(refused).toEqual(refused.map(() => DomctlAnswer.onItself));
    machine.cpu.vcpu.stop();
    expect(own.disable()).toBe(DomctlAnswer.done);
    expect(machine.finish()).toEqual([]);
  });
});

describe("a harvest of more than can be copied at once", () => {
  /** Eight times as many pages as one part of a bitmap has bits for. */
  const ramPages = 2048;

  test.each(HARVESTS)("goes on where it was, and others are told that the domain is busy (%s)", (how) => {
    const machine = logged({ ramPages });
    const { dirty } = machine.toolstack;
    machine.cpu.write(at(1), 1n);
    const entry = machine.tables.entryAt(at(9), 1);
    machine.cpu.writeEntry(entry, entryOf(2000, USER_PAGE));
    machine.cpu.write(at(9), 1n);
    const first = [Math.floor(entry / 4096), PAGE + 1];
    const bits = new Int32Array(ramPages / 32);
    expect(dirty[how](bits)).toBe(DomctlAnswer.again);
    expect(gfnsIn(bits)).toEqual(first);
    const other = how === "clean" ? dirty.cleanRunning(bits) : dirty.clean(bits);
    expect([dirty.enable(), dirty.disable(), dirty.peek(bits), other]).toEqual(
      Array.from({ length: 4 }, () => DomctlAnswer.busy),
    );
    machine.cpuAt(1).vcpu.stop();
    const stranger = machine.machine.controlBy(machine.cpuAt(1).hosted).dirty;
    expect(stranger[how](bits)).toBe(DomctlAnswer.busy);
    // Xen's harvest keeps the domain paused from its first part to its last.
    expect(
      machine.shadow.memory.loadWord(machine.machine.layout.regions.domain.offset + DomainCell.pauses),
    ).toBe(how === "clean" ? 1 : 0);
    expect(machine.findings()).toEqual([]);
    expect(dirty[how](bits)).toBe(DomctlAnswer.done);
    expect(gfnsIn(bits)).toEqual([...first, 2000]);
    expect(dirty.disable()).toBe(DomctlAnswer.done);
    expect(machine.finish()).toEqual([]);
  });

  test("ends with a domain that dies in the middle of it, and nothing is left", () => {
    const machine = logged({ ramPages });
    const { dirty } = machine.toolstack;
    machine.cpu.write(at(1), 1n);
    const bits = new Int32Array(ramPages / 32);
    expect(dirty.clean(bits)).toBe(DomctlAnswer.again);
    machine.toolstack.beginDestroy();
    expect(dirty.clean(bits)).toBe(DomctlAnswer.dying);
    expect(machine.teardown()).toEqual([]);
  });
});

describe("the pool", () => {
  test("lends pages for marks, and reserves them for faults", () => {
    const machine = logged();
    const { pool } = machine.shadow;
    expect(pool.reserveBeside(7)).toBe(4);
    expect(pool.reserveBeside(9)).toBe(0);
    machine.toolstack.dirty.disable();
    expect(pool.reserveBeside(7)).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("that has too little to begin with is not logged", () => {
    const machine = TestMachine.running({ levels: 4, vcpus: 2, poolPages: 0 });
    const { toolstack } = machine;
    expect([toolstack.dirty.enable(), toolstack.dirty.peek(bitmap())]).toEqual([
      DomctlAnswer.noMemory,
      DomctlAnswer.wrongMode,
    ]);
    expect(machine.finish()).toEqual([]);
  });

  test("that has nothing to lend makes the harvest fail, not the guest", () => {
    // The least that a pool may have lends seven pages; two trees of four nodes are more.
    const machine = logged();
    machine.toolstack.setAllocation(0);
    const { dirty } = machine.toolstack;
    machine.cpu.write(at(1), 1n);
    const bits = bitmap();
    machine.locked((shadow) => {
      shadow.logDirty.takeMarks();
    });
    machine.cpu.write(at(2), 1n);
    expect(machine.count("dirty_marks_failed")).toBe(1);
    expect(machine.cpu.read(at(2))).toBe(1n);
    expect(dirty.peek(bits)).toBe(DomctlAnswer.noMemory);
    machine.locked((shadow) => {
      shadow.logDirty.dropHarvest();
    });
    expect(dirty.clean(bits)).toBe(DomctlAnswer.noMemory);
    // The page is read-only again, so nothing of what follows is missed.
    machine.cpu.write(at(2), 2n);
    expect(harvest(machine)).toEqual([PAGE + 2]);
    expect(machine.finish()).toEqual([]);
  });

  test("has no fewer pages than its least, no more than there are, and counts those that it lent", () => {
    const machine = logged({ poolPages: 400, poolPagesMax: 500 });
    machine.cpu.write(at(1), 1n);
    const { toolstack } = machine;
    const least = 128 * 2 + 6 + 1;
    expect([toolstack.setAllocation(0), toolstack.allocation()]).toEqual([least, least]);
    expect([toolstack.setAllocation(-5), toolstack.setAllocation(100_000)]).toEqual([least, 500]);
    expect(machine.shadow.domain.read(DomainCell.poolTotal)).toBe(496);
    expect(harvest(machine)).toEqual([PAGE + 1]);
    expect(machine.shadow.domain.read(DomainCell.poolTotal)).toBe(500);
    expect(machine.finish()).toEqual([]);
  });
});
