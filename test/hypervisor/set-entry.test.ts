/** Setting shadow entries: every count, and when a flush is owed (spec 4.8b). */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SetResult } from "../../src/hypervisor/shadow/set-entry.ts";
import { rightsOnlyGrow } from "../../src/hypervisor/shadow/shadow-entry.ts";
import { ShadowType } from "../../src/hypervisor/shadow/shadow-type.ts";
import { CrashReason } from "../../src/memory/domain-area.ts";
import { FrameUse } from "../../src/memory/frame-table.ts";
import { TestMachine } from "./test-machine.ts";

const PAGE = 0x80;

/** A leaf shadow and a root that nothing else uses; both are the test's, so nothing is audited. */
function withShadows(levels: 2 | 4): {
  machine: TestMachine;
  leaf: number;
  other: number;
  root: number;
  rootType: number;
} {
  const machine = TestMachine.running({ levels });
  const [leafType, rootType] =
    levels === 2 ? [ShadowType.l1_32, ShadowType.l2_32] : [ShadowType.l1_64, ShadowType.l2_64];
  const pages = levels === 2 ? 2 : 1;
  return machine.locked(({ pool }) => ({
    machine,
    leaf: pool.alloc(leafType, pages, 1),
    other: pool.alloc(leafType, pages, 2),
    root: pool.alloc(rootType, levels === 2 ? 4 : 1, 3),
    rootType,
  }));
}

describe("a leaf entry", () => {
  const { machine, leaf } = withShadows(4);
  const { entries, frames } = machine.shadow;
  const cell = leaf << 10;
  const frame = machine.frame(PAGE);
  const counts = (): number[] => [frames.count(frame), frames.typecount(frame)];
  const set = (low: number, high = 0): number => machine.locked(() => entries.setLeaf(cell, low, high));

  test("counts what it maps, and what it lets be written, and asks for no flush", () => {
    expect(set((frame << 12) | 7)).toBe(SetResult.changed);
    expect(counts()).toEqual([2, 1]);
    expect(set((frame << 12) | 7)).toBe(SetResult.unchanged);
    expect(counts()).toEqual([2, 1]);
    expect(set((frame << 12) | 5)).toBe(SetResult.changed);
    expect(counts()).toEqual([2, 0]);
    expect(set(0)).toBe(SetResult.changed);
    expect(counts()).toEqual([1, 0]);
  });

  test("that is magic, or not present, maps nothing", () => {
    for (const [low, high] of [
      [-1, -1],
      [(0x5000 << 4) | 7, -16],
      [(frame << 12) | 6, 0],
    ] as const) {
      set(low, high);
      expect(counts()).toEqual([1, 0]);
    }
    set(0);
  });

  test("for a frame that is not the guest's becomes 0, and says so", () => {
    const refused = machine.countWhile("get_page_fail", () => {
      expect(set((leaf << 12) | 5)).toBe(SetResult.changed | SetResult.error);
    });
    expect([refused, machine.machine.memory.loadEntry(cell)]).toEqual([1, 0]);
  });

  test("that is written anew for the same page keeps the page, and what may write to it, throughout", () => {
    set((frame << 12) | 7);
    const before = frames.timestamp(frame);
    machine.locked(({ pages }) => {
      // Nothing but the entry holds the page.
      pages.putReference(frame);
      entries.setLeaf(cell, (frame << 12) | 0x67, 0);
      expect([frames.use(frame), frames.timestamp(frame)]).toEqual([FrameUse.guest, before]);
      pages.getReference(frame);
    });
    expect(counts()).toEqual([2, 1]);
    set(0);
    expect(counts()).toEqual([1, 0]);
  });

  test("loses nothing when hardware has set D meanwhile", () => {
    set((frame << 12) | 7);
    machine.machine.memory.storeEntry(cell, (frame << 12) | 0x67, 0);
    set((frame << 12) | 5);
    expect(counts()).toEqual([2, 0]);
    set(0);
    expect(counts()).toEqual([1, 0]);
  });
});

describe("an upper entry", () => {
  const { machine, leaf, other, root, rootType } = withShadows(4);
  const { entries, frames } = machine.shadow;
  const cell = root << 10;
  const set = (target: number, flags: number, high = 0): number =>
    machine.locked(() => entries.setUpper(cell, target === 0 ? 0 : (target << 12) | flags, high, rootType));
  const count = (shadow: number): number => frames.count(machine.shadow.frameIn(shadow << 12, 0));

  test.each([
    { what: "appears", before: [0, 0], after: ["leaf", 0x67], flush: false },
    { what: "gains rights", before: ["leaf", 0x61], after: ["leaf", 0x67], flush: false },
    { what: "loses RW", before: ["leaf", 0x67], after: ["leaf", 0x65], flush: true },
    { what: "loses US", before: ["leaf", 0x67], after: ["leaf", 0x63], flush: true },
    { what: "gains one right and loses another", before: ["leaf", 0x63], after: ["leaf", 0x65], flush: true },
    { what: "points elsewhere", before: ["leaf", 0x67], after: ["other", 0x67], flush: true },
    { what: "goes", before: ["leaf", 0x67], after: [0, 0], flush: true },
    { what: "loses P only", before: ["leaf", 0x67], after: ["leaf", 0x66], flush: true },
    { what: "changes without P", before: ["leaf", 0x66], after: ["leaf", 0x64], flush: false },
  ])("that $what owes a flush: $flush", ({ before, after, flush }) => {
    const named = (name: unknown): number => (name === "leaf" ? leaf : name === "other" ? other : 0);
    machine.locked(({ references }) => {
      for (const shadow of [leaf, other]) references.getShadow(machine.shadow.frameIn(shadow << 12, 0), 0);
    });
    const counts = [count(leaf), count(other)];
    set(named(before[0]), Number(before[1]));
    const result = set(named(after[0]), Number(after[1]));
    expect(result).toBe(flush ? SetResult.changed | SetResult.flush : SetResult.changed);
    set(0, 0);
    expect([count(leaf), count(other)]).toEqual(counts);
  });

  test("that gains XD owes a flush, and one that loses it none", () => {
    machine.locked(({ references }) => references.getShadow(machine.shadow.frameIn(leaf << 12, 0), 0));
    set(leaf, 0x67);
    expect(set(leaf, 0x67, -(2 ** 31))).toBe(SetResult.changed | SetResult.flush);
    expect(set(leaf, 0x67)).toBe(SetResult.changed);
    set(0, 0);
  });

  test("that is written anew with the same child keeps the child alive", () => {
    const { machine: fresh, leaf: child, root: parent, rootType: type } = withShadows(4);
    fresh.locked(({ entries: setter, frames: records }) => {
      setter.setUpper(parent << 10, (child << 12) | 0x65, 0, type);
      setter.setUpper(parent << 10, (child << 12) | 0x67, 0, type);
      const shadow = fresh.shadow.frameIn(child << 12, 0);
      expect([records.count(shadow), records.type(shadow)]).toEqual([1, ShadowType.l1_64]);
    });
  });

  test("whose child has too many references crashes the domain and stays as it was", () => {
    const { machine: fresh, leaf: child, root: parent, rootType: type } = withShadows(4);
    const { frames: records, domain, entries: setter } = fresh.shadow;
    fresh.locked(() => {
      records.setCount(fresh.shadow.frameIn(child << 12, 0), 0x3fff_ffff);
      expect(setter.setUpper(parent << 10, (child << 12) | 0x67, 0, type)).toBe(SetResult.error);
    });
    expect(fresh.machine.memory.loadEntry(parent << 10)).toBe(0);
    expect(domain.crashMessage()).toMatch("reference count overflowed");
    expect(CrashReason.refcountOverflow).toBe(5);
  });
});

test("an upper entry of a 32-bit guest fills two slots, and counts once", () => {
  const { machine, leaf, root, rootType } = withShadows(2);
  const { entries, frames, tables } = machine.shadow;
  const { memory } = machine.machine;
  const shadow = machine.shadow.frameIn(root << 12, 0);
  for (const index of [0, 1, 255, 256, 511, 512, 1023]) {
    const cell = tables.cellOf(shadow, rootType, index);
    const page = tables.pageOf(shadow, Math.floor(index / 256));
    expect(cell).toBe((page << 10) | ((index % 256) * 2 * 2));
    machine.locked(() => entries.setUpper(cell, (leaf << 12) | 0x67, 0, rootType));
    const second = frames.sibling(machine.shadow.frameIn(leaf << 12, 0));
    expect([memory.loadEntry(cell), memory.loadEntry(cell + 2)]).toEqual([
      (leaf << 12) | 0x67,
      (second << 12) | 0x67,
    ]);
    expect(frames.count(machine.shadow.frameIn(leaf << 12, 0))).toBe(1);
    if (index !== 1023)
      machine.locked(({ references }) => references.getShadow(machine.shadow.frameIn(leaf << 12, 0), 0));
    machine.locked(() => entries.setUpper(cell, 0, 0, rootType));
    expect([memory.loadEntry(cell), memory.loadEntry(cell + 2)]).toEqual([0, 0]);
    if (index !== 1023) machine.shadow.frames.setCount(machine.shadow.frameIn(leaf << 12, 0), 0);
  }
});

test("an index of a 32-bit leaf table lies in the first or the second page of its shadow", () => {
  const { machine, leaf } = withShadows(2);
  const { tables, frames } = machine.shadow;
  const shadow = machine.shadow.frameIn(leaf << 12, 0);
  fc.assert(
    fc.property(fc.nat(1023), (index) => {
      const page = index < 512 ? shadow : frames.sibling(shadow);
      expect(tables.cellOf(shadow, ShadowType.l1_32, index)).toBe((page << 10) | ((index % 512) * 2));
      expect(tables.cellOf(shadow, ShadowType.fl1_32, index)).toBe((page << 10) | ((index % 512) * 2));
    }),
  );
});

test("rights only grow when no bit of P, RW, US and not XD is lost", () => {
  const flags = fc.tuple(fc.nat(0xff), fc.constantFrom(0, -(2 ** 31)));
  fc.assert(
    fc.property(flags, flags, ([low, high], [nextLow, nextHigh]) => {
      const lost =
        [1, 2, 4].some((bit) => (low & bit) !== 0 && (nextLow & bit) === 0) || (high === 0 && nextHigh !== 0);
      expect(rightsOnlyGrow(low, high, nextLow, nextHigh)).toBe(!lost);
    }),
  );
});
