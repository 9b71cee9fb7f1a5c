/** Every invariant of the audit is seen to fail: each has a fault planted for it, and a sound machine has none. */
import { describe, expect, it, test } from "vitest";
import { INVARIANTS } from "../../src/checks/audit.ts";
import { MachineView } from "../../src/checks/machine-view.ts";
import { ShadowType } from "../../src/hypervisor/shadow/shadow-type.ts";
import { TlbFlag } from "../../src/machine/tlb.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { mfn } from "../../src/memory/units.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { FORMATS, KERNEL_PAGE, USER_PAGE } from "../hypervisor/guest-tables.ts";
import { TestMachine } from "../hypervisor/test-machine.ts";

const PAGE = 0x1000_0000n;
const READ_ONLY = 0x1000_1000n;
const DEVICE = 0x1000_2000n;
const ABSENT = 0x1000_3000n;
const WRITABLE = 2;
const USER = 4;
const SHADOW_HEAD = 2;

/** A guest that has run: pages written and read, a device page, an absent page, and tables that were stored to. */
function machineThatRan(levels: 2 | 3 | 4 = 4): TestMachine {
  const machine = new TestMachine({ levels, structureCacheEntries: 8, switches: { prefetch: false } });
  machine.tables.map(PAGE, 0x80, USER_PAGE);
  machine.tables.map(READ_ONLY, 0x81, USER_PAGE & ~0x2n);
  machine.tables.map(DEVICE, 0x9000, KERNEL_PAGE);
  const absent = machine.tables.entryAt(ABSENT, 1);
  machine.cpu.boot();
  machine.cpu.write(PAGE, 1n);
  machine.cpu.read(READ_ONLY);
  machine.cpu.read(DEVICE);
  machine.cpu.load(ABSENT);
  machine.cpu.writeEntry(absent, 0n);
  // Again, for a fault and a store have dropped what was cached.
  machine.cpu.write(PAGE, 2n);
  return machine;
}

/** The leaf shadow entry of an address. */
function leaf(machine: TestMachine, address: bigint): number {
  machine.shadow.tables.findLeaf(Number(address), 0);
  return machine.shadow.tables.leafCell;
}

function level2(machine: TestMachine, address: bigint): number {
  machine.shadow.tables.findLeaf(Number(address), 0);
  return machine.shadow.tables.level2Cell;
}

/** Changes the low half of an entry. */
function change(machine: TestMachine, cell: number, low: (old: number) => number): void {
  const { memory } = machine.machine;
  const old = memory.loadEntry(cell);
  memory.storeEntry(cell, low(old), memory.high);
}

function leafShadow(machine: TestMachine): Mfn {
  return mfn(leaf(machine, PAGE) >>> 10);
}

/** What breaks each invariant, on a machine that is sound otherwise. */
const PLANTS: Readonly<Record<string, (machine: TestMachine) => void>> = {
  "tlbs-respect-pagetables": (machine) => {
    const table = machine.frame(machine.tables.tableAt(PAGE, 1));
    machine.cpu.vcpu.tlb.insert(0x7000_0000, 0, table, TlbFlag.writable | TlbFlag.user);
  },
  "tlbs-map-guest-memory": (machine) => {
    machine.cpu.vcpu.tlb.insert(0x7000_0000, 0, leafShadow(machine), TlbFlag.user);
  },
  "cached-tables-are-tables": (machine) => {
    machine.cpu.vcpu.structureCache.insert(0x7000_0000, 0, machine.frame(0x80), 22);
  },
  "entries-grant-no-more": (machine) => {
    change(machine, leaf(machine, READ_ONLY), (low) => low & ~USER);
  },
  "leaves-follow-p2m": (machine) => {
    const other = machine.frame(0x82);
    change(machine, leaf(machine, PAGE), (low) => (low & 0xfff) | (other << 12));
  },
  "magic-entries-are-true": (machine) => {
    machine.machine.memory.storeEntry(leaf(machine, READ_ONLY), -1, -1);
  },
  "upper-entries-follow-guest": (machine) => {
    const wrong = machine.shadowOf(machine.tables.root, ShadowType.l4_64);
    change(machine, level2(machine, PAGE), (low) => (low & 0xfff) | (wrong << 12));
  },
  "typecounts-are-exact": (machine) => {
    const { frames } = machine.shadow;
    frames.setTypecount(machine.frame(0x80), frames.typecount(machine.frame(0x80)) + 1);
  },
  "pagetables-are-read-only": (machine) => {
    const table = machine.frame(machine.tables.tableAt(PAGE, 1));
    change(machine, leaf(machine, PAGE), (low) => (low & 0xfff) | WRITABLE | (table << 12));
  },
  "page-counts-are-exact": (machine) => {
    const { frames } = machine.shadow;
    frames.setCount(machine.frame(0x80), frames.count(machine.frame(0x80)) - 1);
  },
  "shadow-counts-are-exact": (machine) => {
    const { frames } = machine.shadow;
    frames.setCount(leafShadow(machine), frames.count(leafShadow(machine)) + 1);
  },
  "upward-links-are-true": (machine) => {
    machine.shadow.frames.setUp(leafShadow(machine), level2(machine, PAGE) + 2);
  },
  "pinned-list-is-exact": (machine) => {
    machine.shadow.domain.set(DomainCell.pinnedHead, 0);
  },
  "pool-is-complete": (machine) => {
    machine.shadow.domain.add(DomainCell.poolFree, 1);
  },
  "heap-is-complete": (machine) => {
    machine.shadow.domain.add(DomainCell.heapFree, -1);
  },
  "shadows-are-hashed": (machine) => {
    const table = machine.frame(machine.tables.tableAt(PAGE, 1));
    machine.shadow.hash.remove(table, ShadowType.l1_64, leafShadow(machine));
  },
  "shadows-are-unique": (machine) => {
    const table = machine.frame(machine.tables.tableAt(PAGE, 1));
    machine.locked(({ pool }) => pool.alloc(ShadowType.l1_64, 1, table));
  },
  "flags-match-shadows": (machine) => {
    const table = machine.frame(machine.tables.tableAt(PAGE, 1));
    machine.shadow.frames.setShadowFlags(table, 0);
  },
  "roots-are-loaded": (machine) => {
    machine.machine.memory.storeWord(machine.cpu.vcpu.area + VcpuCell.hardwareRoot, leafShadow(machine));
  },
};

/** Faults that cannot be planted without breaking a second invariant: what is also found. */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  "leaves-follow-p2m": ["typecounts-are-exact", "page-counts-are-exact"],
  "magic-entries-are-true": ["page-counts-are-exact"],
  "upper-entries-follow-guest": ["shadow-counts-are-exact", "upward-links-are-true"],
  "pagetables-are-read-only": ["leaves-follow-p2m", "typecounts-are-exact", "page-counts-are-exact"],
  "pinned-list-is-exact": ["shadow-counts-are-exact"],
  "shadows-are-unique": ["shadow-counts-are-exact", "page-counts-are-exact", "shadows-are-hashed"],
};

function found(machine: TestMachine): string[] {
  return [...new Set(machine.audit().map(({ check }) => check.replace("audit ", "")))];
}

describe.each(FORMATS)("a guest of %i levels", (levels) => {
  it("leaves a machine that is sound", () => {
    const machine = machineThatRan(levels);
    expect(machine.audit()).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });
});

test("every invariant has a fault planted for it", () => {
  expect(Object.keys(PLANTS).toSorted()).toEqual(INVARIANTS.map(({ name }) => name).toSorted());
});

test.each(INVARIANTS)("the fault planted for $name is found by it", ({ name }) => {
  const machine = machineThatRan();
  PLANTS[name]?.(machine);
  const names = found(machine);
  expect(names).toContain(name);
  expect([name, ...(ALSO[name] ?? [])]).toEqual(expect.arrayContaining(names));
});

test("the audit finds shadows by their pages, not by the hash", () => {
  const machine = machineThatRan();
  const { memory, layout } = machine.machine;
  const before = new MachineView(machine.machine).shadows.length;
  memory.fillWords(layout.regions.hash.offset, layout.regions.hash.words, 0);
  expect(new MachineView(machine.machine).shadows).toHaveLength(before);
  expect(machine.shadow.frames.state(leafShadow(machine)) & SHADOW_HEAD).toBe(SHADOW_HEAD);
});
