/** The layout as data: regions in order, apart from each other, and large enough. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { FRAME_FIELDS, FrameTable } from "../../src/memory/frame-table.ts";
import { layOut } from "../../src/memory/layout.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { mfn, vcpuId } from "../../src/memory/units.ts";
import { VcpuCell, vcpuArea } from "../../src/memory/vcpu-area.ts";

const sizes = fc.record({
  vcpus: fc.integer({ min: 1, max: 1024 }),
  frames: fc.integer({ min: 2, max: 5000 }),
  ramPages: fc.integer({ min: 1, max: 4000 }),
  tlbSets: fc.constantFrom(1, 4, 64),
  tlbWays: fc.integer({ min: 1, max: 8 }),
  structureCacheEntries: fc.nat(16),
});

test("regions do not overlap, and all lie within the memory", () => {
  fc.assert(
    fc.property(sizes, (given) => {
      const layout = layOut(given);
      const regions = Object.values(layout.regions).toSorted((a, b) => a.offset - b.offset);
      let end = 0;
      for (const { offset, words } of regions) {
        expect(offset).toBeGreaterThanOrEqual(end);
        expect(offset % 2).toBe(0);
        end = offset + words;
      }
      expect(layout.words).toBeGreaterThanOrEqual(end);
    }),
  );
});

test("every vCPU, and the toolstack after them, has an area of its own with even entry cells", () => {
  const layout = layOut({
    vcpus: 3,
    frames: 8,
    ramPages: 4,
    tlbSets: 1,
    tlbWays: 1,
    structureCacheEntries: 0,
  });
  const areas = [0, 1, 2, 3].map((id) => Number(vcpuArea(layout, vcpuId(id))));
  const { offset, words } = layout.regions.vcpus;
  const size = words / 4;
  expect(areas).toEqual([0, 1, 2, 3].map((id) => offset + id * size));
  for (const area of areas) expect((area + VcpuCell.pdptes) % 2).toBe(0);
  expect(Math.max(...Object.values(VcpuCell))).toBeLessThan(size);
});

test("the fields of a frame record are independent of each other and of other frames", () => {
  const layout = layOut({
    vcpus: 1,
    frames: 4,
    ramPages: 1,
    tlbSets: 1,
    tlbWays: 1,
    structureCacheEntries: 0,
  });
  const frames = new FrameTable(SharedMemory.create(layout.words), layout);
  const fields = [
    "use",
    "type",
    "count",
    "typecount",
    "pageType",
    "shadowFlags",
    "back",
    "up",
    "nextFrame",
    "previousFrame",
    "hashNext",
    "state",
    "timestamp",
    "generation",
    "sibling",
    "writes",
    "dying",
  ] as const;
  expect(fields).toHaveLength(FRAME_FIELDS);
  const set = (field: (typeof fields)[number], frame: number, value: number): void => {
    const setter = `set${field.charAt(0).toUpperCase()}${field.slice(1)}` as `set${Capitalize<typeof field>}`;
    frames[setter](mfn(frame), value);
  };
  for (const frame of [1, 2])
    for (const [index, field] of fields.entries()) set(field, frame, frame * 100 + index);
  for (const frame of [1, 2])
    expect(fields.map((field): number => frames[field](mfn(frame)))).toEqual(
      fields.map((_, index) => frame * 100 + index),
    );
});
