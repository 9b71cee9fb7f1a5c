/** All the ways in which a page loses its shadows (spec 3.13 to 3.16). */
import { describe, expect, test } from "vitest";
import {
  ShadowType,
  fakeLeafTypeOf,
  leafTypeOf,
  rootTypeOf,
  shadowTypeName,
} from "../../src/hypervisor/shadow/shadow-type.ts";
import { Status } from "../../src/machine/exits.ts";
import { SHADOWED } from "../../src/memory/frame-table.ts";
import { FORMATS, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const SECOND = ADDRESS + (1n << 22n);
/** Where user mode sees the leaf table itself. */
const WINDOW = 0x2000_0000n;
const TABLE = 0x90;
const PAGE = 0x80;

/** A guest whose leaf table at `ADDRESS` is shadowed, and mapped for user mode elsewhere. */
function withTable(levels: GuestLevels, switches = {}): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, switches });
  const { tables } = machine;
  for (const address of [ADDRESS, SECOND]) tables.link(address, 2, TABLE);
  tables.write(TABLE * 4096, entryOf(PAGE, USER_PAGE));
  tables.map(WINDOW, TABLE, USER_PAGE);
  tables.map(WINDOW + 0x1000n, PAGE + 1, USER_PAGE);
  for (const cpu of machine.cpus) {
    cpu.boot();
    cpu.read(ADDRESS);
  }
  return machine;
}

/** The shadow types of a page, by name. */
function typesOf(machine: TestMachine, gfn: number): string[] {
  const flags = machine.shadow.frames.shadowFlags(machine.frame(gfn));
  return Array.from({ length: 16 }, (_, type) => type)
    .filter((type) => ((flags >>> type) & 1) !== 0)
    .map(shadowTypeName);
}

describe.each(FORMATS)("a leaf table of a %i-level guest loses its shadow", (levels) => {
  const leafName = shadowTypeName(leafTypeOf(levels));
  const bytes = entryBytes(levels);

  test("when the last entry that points to it is cleared", () => {
    const machine = withTable(levels);
    expect(typesOf(machine, TABLE)).toEqual([leafName]);
    machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS, 2), 0n);
    expect(typesOf(machine, TABLE)).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });

  test("when its root is no longer loaded and not pinned", () => {
    const machine = withTable(levels, { pinning: false });
    const other = machine.newTables();
    for (const cpu of machine.cpus) cpu.cr3(other.cr3);
    expect(typesOf(machine, TABLE)).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });

  test("when user mode writes to it, and is a page like any other then", () => {
    const machine = withTable(levels);
    machine.cpu.enterUserMode();
    const failed = machine.countWhile("fault_emulate_failed", () => machine.cpu.write(WINDOW + 64n, 7n));
    expect([failed, machine.count("emulated_stores"), typesOf(machine, TABLE)]).toEqual([1, 0, []]);
    expect(machine.shadow.frames.typecount(machine.frame(TABLE))).toBe(1);
    machine.cpu.enterKernelMode();
    expect(machine.cpu.read(ADDRESS)).toBe(0n);
    expect(typesOf(machine, TABLE)).toEqual([leafName]);
    expect(machine.finish()).toEqual([]);
  });

  test.each([1n, 2n, 3n, 5n])("when %i bytes beside an entry are written", (offset) => {
    const machine = withTable(levels);
    machine.cpu.write(WINDOW + 64n + offset, 0x1234_5678n);
    expect(typesOf(machine, TABLE)).toEqual([]);
    expect(machine.cpu.read(WINDOW + 64n + offset)).toBe(0x1234_5678n);
    expect(machine.finish()).toEqual([]);
  });

  test("when a write crosses into it or out of it", () => {
    for (const address of [WINDOW + 4094n, WINDOW - 2n]) {
      const machine = withTable(levels);
      machine.cpu.writeEntry(machine.tables.entryAt(WINDOW - 4096n, 1), entryOf(PAGE + 2, USER_PAGE));
      machine.cpu.write(address, 0x1234_5678n);
      expect(typesOf(machine, TABLE)).toEqual([]);
      expect(machine.cpu.read(address)).toBe(0x1234_5678n);
      expect(machine.finish()).toEqual([]);
    }
  });

  test("when two entries in a row are cleared", () => {
    const machine = withTable(levels);
    machine.cpu.write(WINDOW + 64n, 0n, bytes);
    expect(typesOf(machine, TABLE)).toEqual([leafName]);
    const early = machine.countWhile("early_unshadow", () => machine.cpu.write(WINDOW + 72n, 0n, bytes));
    expect([early, typesOf(machine, TABLE)]).toEqual([1, []]);
    expect(machine.finish()).toEqual([]);
  });

  test("when its frame is taken from the guest, or moved", () => {
    for (const act of ["removePage", "movePage"] as const) {
      const machine = withTable(levels);
      const frame = machine.frame(TABLE);
      machine.toolstack[act](TABLE);
      expect(machine.shadow.frames.shadowFlags(frame) & SHADOWED).toBe(0);
      expect(machine.cpu.load(ADDRESS).status).toBe(act === "movePage" ? Status.done : Status.pageFault);
      expect(machine.finish()).toEqual([]);
    }
  });

  test("when something maps it writable for the first time all the same", () => {
    const machine = withTable(levels);
    const frame = machine.frame(TABLE);
    machine.locked(({ pages }) => {
      expect(pages.getMapping(frame, true)).toBe(true);
      expect(typesOf(machine, TABLE)).toEqual([]);
      pages.putMapping(frame, true);
    });
    expect(machine.finish()).toEqual([]);
  });

  test("when all shadows are thrown away", () => {
    const machine = withTable(levels);
    machine.locked(({ unshadow }) => unshadow.blowTables());
    expect(typesOf(machine, TABLE)).toEqual([]);
    expect(machine.cpu.read(ADDRESS)).toBe(0n);
    expect(machine.finish()).toEqual([]);
  });

  test("by its upward link alone where that suffices, else by a scan", () => {
    const one = withTable(levels);
    const byLink = one.countWhile("up_pointer", () =>
      one.locked(({ unshadow }) => unshadow.removeShadows(one.frame(TABLE), true, false)),
    );
    expect([byLink, typesOf(one, TABLE)]).toEqual([1, []]);

    const two = withTable(levels);
    two.cpu.read(SECOND);
    const frame = two.frame(TABLE);
    const unlinked = two.countWhile("unshadow_bf", () =>
      two.locked(({ unshadow }) => unshadow.removeShadows(frame, true, false)),
    );
    expect([unlinked, typesOf(two, TABLE)]).toEqual([1, [leafName]]);
    two.locked(({ unshadow }) => unshadow.removeShadows(frame, false, true));
    expect(typesOf(two, TABLE)).toEqual([]);
    expect(two.finish()).toEqual([]);
  });

  test("by a scan when there are no upward links", () => {
    const machine = withTable(levels, { "up-pointer": false });
    const frame = machine.frame(TABLE);
    machine.locked(({ unshadow }) => unshadow.removeShadows(frame, true, false));
    expect(typesOf(machine, TABLE)).toEqual([leafName]);
    machine.locked(({ unshadow }) => unshadow.removeShadows(frame, false, true));
    expect(typesOf(machine, TABLE)).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });

  test("with a flush of every vCPU", () => {
    const machine = withTable(levels);
    expect(machine.cpuAt(1).read(ADDRESS)).toBe(0n);
    machine.locked(({ unshadow }) => unshadow.removeShadows(machine.frame(TABLE), false, true));
    expect(machine.countWhile("tlb_hits", () => machine.cpuAt(1).read(ADDRESS))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each(FORMATS)("a root of %i levels", (levels) => {
  const rootGfn = (machine: TestMachine): number =>
    levels === 3 ? machine.tables.tableAt(0n, 2) : machine.tables.root;

  test("that a vCPU runs on takes the domain with it when it must be unshadowed", () => {
    const machine = TestMachine.running({ levels });
    machine.toolstack.removePage(rootGfn(machine));
    expect(machine.machine.domain.crashMessage()).toMatch("the root some vCPU runs on");
    expect(machine.cpu.load(machine.direct(0)).status).toBe(Status.stopped);
    expect(machine.cpu.cr3(machine.tables.cr3)).toBe(Status.stopped);
    expect(machine.teardown()).toEqual([]);
  });

  test("that no vCPU runs on goes quietly", () => {
    const machine = TestMachine.running({ levels });
    const other = machine.newTables();
    machine.cpu.cr3(other.cr3);
    const frame = machine.frame(rootGfn(machine));
    machine.toolstack.removePage(rootGfn(machine));
    expect(machine.shadow.frames.shadowFlags(frame)).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("stays when it need not go, with what was written to it", () => {
    const machine = TestMachine.running({ levels });
    const gfn = rootGfn(machine);
    machine.tables.write(TABLE * 4096, entryOf(PAGE, USER_PAGE));
    machine.cpu.write(machine.direct(gfn * 4096 + 4090), 0n);
    machine.cpu.write(machine.direct(gfn * 4096 + 2048), 0n);
    machine.cpu.write(machine.direct(gfn * 4096 + 2056), 0n);
    expect(machine.shadowOf(gfn, rootTypeOf(levels))).toBe(machine.cpu.root());
    expect(machine.finish()).toEqual([]);
  });

  test("that user mode writes to takes the domain with it", () => {
    const machine = new TestMachine({ levels });
    machine.tables.map(WINDOW, levels === 3 ? machine.tables.tableAt(0n, 2) : machine.tables.root, USER_PAGE);
    machine.cpu.boot();
    machine.cpu.enterUserMode();
    expect(machine.cpu.store(WINDOW, 0n).status).toBe(Status.stopped);
    expect(machine.machine.domain.isCrashed()).toBe(true);
  });
});

test.each(FORMATS)(
  "a table with a bogus entry is no pagetable any more, and the entry maps nothing (%i levels)",
  (levels) => {
    const machine = withTable(levels);
    const table = levels === 2 ? machine.tables.root : machine.tables.tableAt(ADDRESS, 2);
    const before = machine.count("unshadow");
    // The new entry names a table where there is no memory.
    machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS, 2), entryOf(0xf_f000, USER_PAGE));
    expect(machine.count("unshadow") - before).toBe(1);
    expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    const isRoot = levels !== 4;
    expect(typesOf(machine, table).length > 0).toBe(isRoot);
    machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS, 2), entryOf(TABLE, USER_PAGE));
    expect(machine.cpu.read(ADDRESS)).toBe(0n);
    expect(machine.finish()).toEqual([]);
  },
);

test("a page shadowed as several types loses the higher first, and all of them", () => {
  const machine = new TestMachine({ levels: 4 });
  const { tables } = machine;
  const self = 0xffff_8000_0000_0000n;
  tables.link(self, 4, tables.root);
  machine.cpu.boot();
  // Through the linear map the root serves as a table of every level, all the way down to itself.
  machine.cpu.read(self + (256n << 30n) + (256n << 21n) + (256n << 12n));
  expect(typesOf(machine, tables.root)).toEqual(["l1_64", "l2_64", "l3_64", "l4_64"]);
  const other = machine.newTables();
  machine.cpu.cr3(other.cr3);
  const frame = machine.frame(tables.root);
  machine.locked(({ unshadow }) => unshadow.removeShadows(frame, false, true));
  expect(typesOf(machine, tables.root)).toEqual([]);
  expect(machine.finish()).toEqual([]);
});

test("a page that has no shadow costs neither a count nor a flush", () => {
  const machine = TestMachine.running({ levels: 4, vcpus: 2 });
  const act = (): void =>
    machine.locked(({ unshadow }) => unshadow.removeShadows(machine.frame(PAGE), false, true));
  expect([machine.countWhile("unshadow", act), machine.countWhile("flush_requests", act)]).toEqual([0, 0]);
  expect(machine.finish()).toEqual([]);
});

describe.each(FORMATS)("removing all mappings of a page with %i levels", (levels) => {
  test("zeroes its leaves in tables and large pages, and leaves those of others", () => {
    const machine = withTable(levels);
    machine.cpu.read(machine.direct(PAGE * 4096));
    machine.cpu.read(machine.direct((PAGE + 1) * 4096));
    const frame = machine.frame(PAGE);
    const { frames } = machine.shadow;
    const others = frames.count(machine.frame(PAGE + 1));
    expect(frames.count(frame)).toBeGreaterThan(2);
    machine.locked(({ unshadow }) => {
      expect(unshadow.removeAllMappings(frame)).toBe(true);
      expect(unshadow.removeAllMappings(frame)).toBe(false);
    });
    machine.shadow.flushAll();
    expect([frames.count(frame), frames.count(machine.frame(PAGE + 1))]).toEqual([1, others]);
    expect([machine.count("mappings"), machine.count("mappings_bf")]).toEqual([1, 1]);
    expect(machine.cpu.read(ADDRESS)).toBe(0n);
    expect(machine.finish()).toEqual([]);
  });
});

test.each(FORMATS)("shadows made for large pages never are shadows of a page (%i levels)", (levels) => {
  const machine = TestMachine.running({ levels });
  machine.cpu.read(machine.direct(0));
  const fake = machine.locked(({ hash }) => hash.lookup(0, fakeLeafTypeOf(levels)));
  expect(fake).not.toBe(0);
  for (let gfn = 0; gfn < 256; gfn++)
    expect(typesOf(machine, gfn).some((name) => name.startsWith("fl1"))).toBe(false);
  expect(machine.finish()).toEqual([]);
});

test("an upward link that leads to no table is reported, and nothing is written there", () => {
  const machine = withTable(4);
  const { frames } = machine.shadow;
  const shadow = machine.shadowOf(TABLE, ShadowType.l1_64);
  frames.setUp(shadow, shadow << 10);
  machine.locked(({ unshadow }) => unshadow.removeShadows(machine.frame(TABLE), true, false));
  expect(machine.findings()[0]).toMatch("which is no table");
});
