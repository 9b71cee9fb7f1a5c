/** The TLB against a plain list of what was inserted, dropped and flushed. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Tlb, TlbFlag } from "../../src/machine/tlb.ts";
import { StructureCache } from "../../src/machine/structure-cache.ts";
import { layOut } from "../../src/memory/layout.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { vcpuId } from "../../src/memory/units.ts";

const SIZES = { vcpus: 2, frames: 2, ramPages: 1, tlbSets: 2, tlbWays: 2, structureCacheEntries: 3 };
const layout = layOut(SIZES);

/** Few pages that differ in every part of the tag, so that they collide. */
const pages = fc.record({
  low: fc.constantFrom(0, 0x1000, 0x2000, 0x4000, 0x8000_0000 | 0, 0xffff_f000 | 0),
  high: fc.constantFrom(0, 1, 0x1000, 0x7fff, -1),
});
const actions = fc.oneof(
  fc.record({ do: fc.constant("insert"), page: pages, frame: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ do: fc.constant("drop"), page: pages, frame: fc.constant(0) }),
  fc.record({ do: fc.constant("flush"), page: pages, frame: fc.constant(0) }),
);

test("a hit is the newest translation of that very page, and what was dropped is gone", () => {
  fc.assert(
    fc.property(fc.array(actions, { maxLength: 40 }), (list) => {
      const tlb = new Tlb(SharedMemory.create(layout.words), layout, vcpuId(0));
      const known = new Map<string, number>();
      for (const { do: action, page, frame } of list) {
        const key = `${page.high & 0xffff}:${page.low}`;
        if (action === "insert") {
          tlb.insert(page.low, page.high, frame, TlbFlag.writable);
          known.set(key, frame);
        } else if (action === "drop") {
          tlb.drop(page.low, page.high);
          known.delete(key);
        } else {
          tlb.flush();
          known.clear();
        }
        const entry = tlb.find(page.low, page.high);
        const isRight =
          entry < 0
            ? action !== "insert"
            : tlb.frame(entry) === known.get(key) && (tlb.flags(entry) & TlbFlag.writable) !== 0;
        expect(isRight).toBe(true);
      }
      let valid = 0;
      tlb.forEach(() => valid++);
      expect(valid).toBeLessThanOrEqual(known.size);
    }),
  );
});

test("two vCPUs have TLBs of their own", () => {
  const memory = SharedMemory.create(layout.words);
  const [first, second] = [new Tlb(memory, layout, vcpuId(0)), new Tlb(memory, layout, vcpuId(1))];
  first.insert(0x1000, 0, 5, TlbFlag.user);
  expect(second.find(0x1000, 0)).toBe(-1);
  second.flush();
  expect(first.find(0x1000, 0)).toBeGreaterThanOrEqual(0);
});

test("the paging-structure cache knows a table for the 2 MiB around an address until it is flushed", () => {
  const cache = new StructureCache(SharedMemory.create(layout.words), layout, vcpuId(0));
  cache.insert(0x0020_0000, 0x12, 7, 6);
  expect(cache.find(0x003f_f000, 0x12)).toBe(7);
  expect(cache.rights).toBe(6);
  expect(cache.find(0x0040_0000, 0x12)).toBe(-1);
  expect(cache.find(0x0020_0000, 0x13)).toBe(-1);
  cache.flush();
  expect(cache.find(0x0020_0000, 0x12)).toBe(-1);
});

test("a paging-structure cache of no entries never hits", () => {
  const off = layOut({ ...SIZES, structureCacheEntries: 0 });
  const cache = new StructureCache(SharedMemory.create(off.words), off, vcpuId(0));
  cache.insert(0, 0, 7, 6);
  expect(cache.find(0, 0)).toBe(-1);
});
