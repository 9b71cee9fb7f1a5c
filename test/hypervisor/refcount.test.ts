/** References of shadows, upward links and the pinned list (spec 3.1 to 3.5). */
import { describe, expect, test } from "vitest";
import { ShadowType, leafTypeOf, rootTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { mfn } from "../../src/memory/units.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { FORMATS, USER_PAGE, entryOf } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const FIRST = 0x1000_0000n;
const SECOND = 0x1000_0000n + (1n << 22n);
/** A table of its own, below two addresses. */
const TABLE = 0x90;
const PAGE = 0x80;

/** A guest that reaches one leaf table by two entries of its level 2 table. */
function withSharedTable(levels: 2 | 3 | 4, switches = {}): TestMachine {
  const machine = new TestMachine({ levels, switches: { prefetch: false, ...switches } });
  for (const address of [FIRST, SECOND]) machine.tables.link(address, 2, TABLE);
  machine.tables.write(TABLE * 4096, entryOf(PAGE, USER_PAGE));
  machine.cpu.boot();
  return machine;
}

/** Cell of the shadow entry that stands for the level 2 entry of an address. */
function parentCell(machine: TestMachine, address: bigint): number {
  const { tables } = machine.shadow;
  tables.findLeaf(Number(BigInt.asIntN(32, address)), 0);
  return tables.level2Cell;
}

describe.each(FORMATS)("the shadow of a leaf table of a %i-level guest", (levels) => {
  test("has a reference for each entry that points to it, and knows one of them", () => {
    const machine = withSharedTable(levels);
    const { frames } = machine.shadow;
    machine.cpu.read(FIRST);
    const shadow = machine.shadowOf(TABLE, leafTypeOf(levels));
    const first = parentCell(machine, FIRST);
    expect([frames.count(shadow), frames.up(shadow)]).toEqual([1, first]);
    machine.cpu.read(SECOND);
    expect([frames.count(shadow), frames.up(shadow)]).toEqual([2, first]);
    machine.cpu.writeEntry(machine.tables.entryAt(FIRST, 2), 0n);
    expect([frames.count(shadow), frames.up(shadow)]).toEqual([1, 0]);
    machine.cpu.writeEntry(machine.tables.entryAt(SECOND, 2), 0n);
    expect(machine.shadowOf(TABLE, leafTypeOf(levels))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("knows no entry when upward links are switched off", () => {
    const machine = withSharedTable(levels, { "up-pointer": false });
    machine.cpu.read(FIRST);
    expect(machine.shadow.frames.up(machine.shadowOf(TABLE, leafTypeOf(levels)))).toBe(0);
    expect(machine.count("up_pointer_set")).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

test("a reference that would overflow is refused", () => {
  const machine = TestMachine.running({ levels: 4 });
  machine.locked(({ references, frames }) => {
    const root = machine.cpu.root();
    const count = frames.count(root);
    frames.setCount(root, 0x3fff_fffe);
    expect(references.getShadow(root, 0)).toBe(true);
    expect(references.getShadow(root, 0)).toBe(false);
    frames.setCount(root, count);
  });
  expect(machine.finish()).toEqual([]);
});

test("a count that falls below zero is reported", () => {
  const machine = TestMachine.running({ levels: 4 });
  machine.locked(({ references, frames }) => {
    const root = machine.cpu.root();
    const count = frames.count(root);
    frames.setCount(root, 0);
    references.putShadow(root, 0);
    frames.setCount(root, count);
  });
  expect(machine.findings()).toEqual([expect.stringContaining("falls below 0")]);
});

/** The pinned list from its head. */
function pinned(machine: TestMachine): Mfn[] {
  const { domain, frames } = machine.shadow;
  const list: Mfn[] = [];
  for (let at = mfn(domain.read(DomainCell.pinnedHead)); at !== 0; at = frames.nextFrame(at)) list.push(at);
  return list;
}

describe.each(FORMATS)("the pinned list of a %i-level guest", (levels) => {
  const rootOf = (machine: TestMachine, gfn: number): Mfn => machine.shadowOf(gfn, rootTypeOf(levels));
  /** What is pinned of a tree: for PAE each of the four level 2 tables. */
  const rootsOf = (machine: TestMachine, tree: TestMachine["tables"]): Mfn[] =>
    levels === 3
      ? [3n, 2n, 1n, 0n].map((slot) => rootOf(machine, tree.tableAt(slot << 30n, 2)))
      : [rootOf(machine, tree.root)];

  test("has the roots in the order in which they were loaded last, and keeps them alive", () => {
    const machine = new TestMachine({ levels });
    const [one, two, three] = [machine.tables, machine.newTables(), machine.newTables()];
    machine.cpu.boot(one);
    const identity = machine.locked(({ hash, domain }) =>
      hash.lookup(domain.read(DomainCell.unpagedTable), ShadowType.l2_32),
    );
    for (const tree of [two, three, one]) machine.cpu.cr3(tree.cr3);
    expect(pinned(machine)).toEqual(
      [one, three, two].flatMap((tree) => rootsOf(machine, tree)).concat(identity),
    );
    const going = rootsOf(machine, three);
    machine.locked(({ references }) => {
      for (const root of going) references.unpin(root);
    });
    expect(rootOf(machine, levels === 3 ? three.tableAt(0n, 2) : three.root)).toBe(0);
    expect(pinned(machine)).toEqual([one, two].flatMap((tree) => rootsOf(machine, tree)).concat(identity));
    expect(machine.finish()).toEqual([]);
  });

  test("is empty when pinning is switched off, and roots that are not loaded die", () => {
    const machine = new TestMachine({ levels, switches: { pinning: false } });
    const other = machine.newTables();
    machine.cpu.boot();
    machine.cpu.cr3(other.cr3);
    expect(pinned(machine)).toEqual([]);
    expect(rootsOf(machine, machine.tables).every((root) => root === 0)).toBe(true);
    expect(machine.finish()).toEqual([]);
  });
});

describe("level 3 shadows of a 64-bit guest", () => {
  test("are pinned, and have no upward link, while the guest seems to keep one root per CPU", () => {
    const machine = TestMachine.running({ levels: 4 });
    machine.cpu.read(machine.direct(0));
    const level3 = machine.shadowOf(machine.tables.tableAt(machine.direct(0), 3), ShadowType.l3_64);
    expect(pinned(machine)).toContain(level3);
    expect(machine.shadow.frames.up(level3)).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("are unpinned for good once more than two roots a vCPU are pinned", () => {
    const machine = new TestMachine({ levels: 4 });
    const trees = [machine.tables, machine.newTables(), machine.newTables(), machine.newTables()];
    machine.cpu.boot();
    for (const tree of trees) {
      machine.cpu.cr3(tree.cr3);
      machine.cpu.read(machine.direct(0));
    }
    const { frames, domain } = machine.shadow;
    expect(domain.read(DomainCell.linuxL3Toplevel)).toBe(0);
    expect(pinned(machine).some((each) => frames.type(each) === ShadowType.l3_64)).toBe(false);
    const last = machine.shadowOf(
      (trees[3] ?? machine.tables).tableAt(machine.direct(0), 3),
      ShadowType.l3_64,
    );
    expect(frames.up(last)).not.toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test.each(["linux-l3-toplevel", "pinning"] as const)("are not pinned without %s", (without) => {
    const machine = TestMachine.running({ levels: 4, switches: { [without]: false } });
    machine.cpu.read(machine.direct(0));
    const level3 = machine.shadowOf(machine.tables.tableAt(machine.direct(0), 3), ShadowType.l3_64);
    expect(pinned(machine)).not.toContain(level3);
    expect(machine.shadow.frames.up(level3)).not.toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});
