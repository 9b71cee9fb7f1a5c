/** What the toolstack does: changes of the p2m, and the domain's end (spec 12, 19). */
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/hypervisor/machine.ts";
import { registerValue } from "../../src/hypervisor/device.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { Status } from "../../src/machine/exits.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { FrameUse, POISON } from "../../src/memory/frame-table.ts";
import { FORMATS, USER_PAGE, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;

function withPage(levels: GuestLevels, config = {}): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, ...config });
  machine.tables.map(ADDRESS, PAGE, USER_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  machine.cpu.write(ADDRESS, 0x11n);
  machine.cpuAt(1).read(ADDRESS);
  return machine;
}

describe.each(FORMATS)("with %i levels", (levels) => {
  test("a page that is removed is a device for everybody, and its frame is poisoned", () => {
    const machine = withPage(levels);
    const frame = machine.frame(PAGE);
    machine.toolstack.removePage(PAGE);
    expect(machine.frame(PAGE)).toBe(-1);
    expect([machine.shadow.frames.use(frame), machine.word(frame, 0), machine.word(frame, 1023)]).toEqual([
      FrameUse.heap,
      POISON,
      POISON,
    ]);
    for (const cpu of machine.cpus) expect(cpu.read(ADDRESS)).toBe(BigInt(registerValue(PAGE, 0) >>> 0));
    machine.toolstack.removePage(PAGE);
    expect(machine.finish()).toEqual([]);
  });

  test("a page that is added holds poison, and is seen at once", () => {
    const machine = withPage(levels);
    machine.toolstack.removePage(PAGE);
    machine.cpu.read(ADDRESS);
    expect(machine.toolstack.addPage(PAGE)).toBe(true);
    for (const cpu of machine.cpus) expect(cpu.read(ADDRESS)).toBe(BigInt(POISON >>> 0));
    expect(machine.toolstack.addPage(PAGE)).toBe(false);
    expect([machine.toolstack.addPage(-1), machine.toolstack.addPage(256)]).toEqual([false, false]);
    expect(machine.finish()).toEqual([]);
  });

  test("a page that is moved keeps what is in it, and nothing maps the old frame", () => {
    const machine = withPage(levels);
    const old = machine.frame(PAGE);
    machine.cpu.read(machine.direct(PAGE * 4096));
    expect(machine.toolstack.movePage(PAGE)).toBe(true);
    expect(machine.frame(PAGE)).not.toBe(old);
    expect([machine.shadow.frames.use(old), machine.word(old, 0)]).toEqual([FrameUse.heap, POISON]);
    for (const cpu of machine.cpus) expect(cpu.read(ADDRESS)).toBe(0x11n);
    machine.cpu.write(machine.direct(PAGE * 4096), 0x22n);
    expect(machine.cpuAt(1).read(ADDRESS)).toBe(0x22n);
    expect(machine.toolstack.movePage(0x3000)).toBe(false);
    expect(machine.finish()).toEqual([]);
  });

  test("tables of every level below the root can be moved while they are used", () => {
    const machine = withPage(levels);
    for (let level = 1; level < (levels === 4 ? 4 : 2); level++) {
      const table = machine.tables.tableAt(ADDRESS, level);
      expect(machine.toolstack.movePage(table)).toBe(true);
      for (const cpu of machine.cpus) expect(cpu.read(ADDRESS)).toBe(0x11n);
      machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS, 1), entryOf(PAGE, USER_PAGE));
      expect(machine.findings()).toEqual([]);
    }
    expect(machine.finish()).toEqual([]);
  });

  test("a table that is removed takes what is below it along, and comes back with its page", () => {
    const machine = withPage(levels);
    const table = machine.tables.tableAt(ADDRESS, 1);
    const entry = machine.tables.read(machine.tables.entryAt(ADDRESS, 1));
    const at = machine.tables.entryAt(ADDRESS, 1);
    machine.toolstack.removePage(table);
    for (const cpu of machine.cpus)
      expect(cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    machine.toolstack.addPage(table);
    machine.cpu.writeEntry(at, entry);
    for (const cpu of machine.cpus) {
      cpu.invlpg(ADDRESS);
      expect(cpu.read(ADDRESS)).toBe(0x11n);
    }
    expect(machine.finish()).toEqual([]);
  });

  test("a domain that is destroyed ends every vCPU at its next operation, and leaves nothing", () => {
    const machine = withPage(levels);
    machine.toolstack.beginDestroy();
    for (const cpu of machine.cpus) {
      expect(cpu.load(ADDRESS).status).toBe(Status.stopped);
      expect(cpu.store(ADDRESS, 1n).status).toBe(Status.stopped);
      expect(cpu.cr3(machine.tables.cr3)).toBe(Status.stopped);
    }
    expect(machine.teardown()).toEqual([]);
  });

  test("a domain whose vCPUs died in the middle leaves nothing either", () => {
    const machine = withPage(levels);
    for (const { vcpu } of machine.cpus) vcpu.stop();
    expect(machine.toolstack.teardown()).toEqual([]);
    expect(machine.shadow.heap.freeFrames()).toBe(machine.machine.layout.sizes.frames - 1);
  });

  test("a domain that crashed leaves nothing either", () => {
    const machine = withPage(levels);
    machine.toolstack.removePage(levels === 3 ? machine.tables.tableAt(0n, 2) : machine.tables.root);
    expect(machine.machine.domain.isCrashed()).toBe(true);
    expect(machine.teardown()).toEqual([]);
  });
});

test("pages that are added and removed in turn never run out of frames", () => {
  const machine = withPage(4);
  for (let round = 0; round < 500; round++) {
    machine.toolstack.removePage(PAGE + (round % 7));
    expect(machine.toolstack.addPage(PAGE + (round % 7))).toBe(true);
    machine.toolstack.movePage(PAGE + 8);
    if (round % 50 === 0) machine.cpu.load(ADDRESS);
  }
  expect(machine.finish()).toEqual([]);
});

test("with no frame left a page is neither added nor moved, and nothing is lost", () => {
  const machine = withPage(4);
  const { heap } = machine.shadow;
  const taken: number[] = [];
  for (let frame = heap.allocate(FrameUse.guest); frame >= 0; frame = heap.allocate(FrameUse.guest))
    taken.push(frame);
  expect(machine.toolstack.movePage(PAGE)).toBe(false);
  expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
  machine.toolstack.removePage(PAGE + 1);
  expect(heap.allocate(FrameUse.guest)).toBeGreaterThan(0);
  expect(machine.toolstack.addPage(PAGE + 1)).toBe(false);
  expect(taken.length).toBeGreaterThan(0);
});

function tornDown(): TestMachine {
  const machine = withPage(4);
  expect(machine.teardown()).toEqual([]);
  return machine;
}

describe("after teardown", () => {
  test("there is no memory, and nothing that the toolstack does makes some", () => {
    const machine = tornDown();
    const { toolstack, shadow } = machine;
    const all = machine.machine.layout.sizes.frames - 1;
    expect(toolstack.addPage(PAGE)).toBe(false);
    expect(toolstack.movePage(PAGE)).toBe(false);
    toolstack.removePage(PAGE);
    toolstack.deviceWrite(PAGE * 4096, 1);
    toolstack.setAllocation(500);
    expect([shadow.heap.freeFrames(), toolstack.allocation()]).toEqual([all, 0]);
    expect(toolstack.findings).toEqual([]);
  });

  test("a second one finds nothing to do", () => {
    expect(tornDown().toolstack.teardown()).toEqual([]);
  });
});

test("a domain is not torn down under a vCPU that runs", () => {
  const machine = withPage(4);
  machine.cpuAt(0).vcpu.stop();
  expect(machine.toolstack.teardown()).toEqual(["vCPU 1 still runs at the domain's teardown"]);
  machine.cpuAt(1).vcpu.stop();
  expect(machine.toolstack.teardown()).toEqual([]);
});

describe("teardown says so when there is left", () => {
  test.each([
    {
      what: "a reference to a page",
      leak: (machine: TestMachine): void => {
        machine.shadow.pages.getReference(machine.frame(PAGE));
      },
      says: ["gfn 0x80 has 2 references where 1 is due", "machine frames not free after the teardown: 1"],
    },
    {
      what: "a reference to a shadow",
      leak: (machine: TestMachine): void => {
        machine.shadow.references.getShadow(machine.cpu.root(), 0);
      },
      says: expect.arrayContaining([
        expect.stringMatching(/^shadow 0x[0-9a-f]+ of type l4_64 survives with 1 references/),
        "gfn 0x10 has 2 references where 1 is due",
        "gfn 0x10 is still marked as shadowed",
      ]) as unknown,
    },
    {
      what: "a page of the pool",
      leak: (machine: TestMachine): void => {
        machine.shadow.pool.alloc(13, 1, 0);
      },
      says: [
        expect.stringMatching("of type p2m_table survives"),
        "the pool has 263 pages but 262 are free",
        "machine frames not free after the teardown: 1",
      ],
    },
    {
      what: "a writable mapping",
      leak: (machine: TestMachine): void => {
        machine.shadow.frames.setTypecount(machine.frame(PAGE + 1), 1);
      },
      says: ["gfn 0x81 has a typecount of 1 where 0 is due"],
    },
    {
      what: "a frame of the machine",
      leak: (machine: TestMachine): void => {
        machine.shadow.heap.allocate(FrameUse.guest);
      },
      says: ["machine frames not free after the teardown: 1"],
    },
  ])("$what", ({ leak, says }) => {
    const machine = withPage(4);
    machine.shadow.lock.acquire(LockSite.test);
    leak(machine);
    machine.shadow.lock.release();
    expect(machine.teardown()).toEqual(says);
  });
});

test("guest memory is written by physical address before a vCPU runs, wherever its frames lie", () => {
  const machine = new TestMachine({ levels: 2 });
  machine.ram.writeWord(PAGE * 4096 + 8, 0x1234);
  expect(machine.ram.readWord(PAGE * 4096 + 8)).toBe(0x1234);
  expect(machine.word(machine.frame(PAGE), 2)).toBe(0x1234);
  expect(() => machine.ram.readWord(256 * 4096)).toThrow(
    new RangeError("guest physical address 0x100000 is no memory"),
  );
  expect(machine.ram.pages).toBe(256);
});

test("no frame of the guest has the number of its gfn by accident", () => {
  const machine = new TestMachine({ levels: 2 });
  const same = Array.from({ length: 256 }, (_, gfn) => gfn).filter((gfn) => machine.frame(gfn) === gfn);
  expect(same.length).toBeLessThan(8);
});

test("another thread sees the same machine", () => {
  const machine = withPage(4);
  const other = Machine.attach(
    structuredClone({ ...machine.machine.handle, memory: machine.machine.memory.handle }),
  );
  expect(other.p2m.frameOf(PAGE)).toBe(machine.frame(PAGE));
  expect(other.domain.read(DomainCell.poolTotal)).toBe(machine.toolstack.allocation());
});
