/** The boot loader: its tables are held against hardware's own walker, which is held against recorded walks elsewhere. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linearEntry, PERSONALITIES } from "../../src/guest/kernel/address-map.ts";
import { signExtended } from "../../src/guest/kernel/paging-format.ts";
import type { KernelWish } from "../../src/guest/kernel-builder.ts";
import { Loader } from "../../src/guest/loader.ts";
import { GUEST_FORMATS } from "../../src/guest/scenario.ts";
import { EntryFlag } from "../../src/machine/entry.ts";
import { FlatRam } from "./flat-ram.ts";

const PAGE = 4096;
const RIGHTS = EntryFlag.writable | EntryFlag.user;
const everyKernel = GUEST_FORMATS.flatMap((format) =>
  PERSONALITIES.map((personality) => ({ format, personality })),
);

function boot(format: (typeof GUEST_FORMATS)[number], wish: KernelWish, pages = 2048) {
  const ram = new FlatRam(pages);
  const loader = new Loader({ ram, format, vcpus: 4 });
  return { ram, loader, image: loader.kernel(wish) };
}

describe.each(GUEST_FORMATS)("tables of a %s guest", (format) => {
  // Two entries of every level, two pages of each table: so few that mappings often meet.
  const tops =
    format === "4level" ? [0, 2 ** 39, 2 ** 30, signExtended(0xffff_8000_0000_0000 % 2 ** 48)] : [0, 2 ** 30];
  const addresses = fc
    .tuple(fc.constantFrom(...tops), fc.nat(1), fc.nat(1))
    .map(([top, table, page]) => top + table * 0x0040_0000 + page * PAGE);
  const mappings = fc.record({
    address: addresses,
    frame: fc.integer({ min: 1, max: 9 }),
    flags: fc.constantFrom(0, EntryFlag.writable, EntryFlag.user, EntryFlag.writable | EntryFlag.user),
  });

  it("translate as a flat list of mappings would", () => {
    fc.assert(
      fc.property(fc.array(mappings, { maxLength: 8 }), addresses, (list, address) => {
        const ram = new FlatRam(128);
        const loader = new Loader({ ram, format, vcpus: 1 });
        const tables = loader.tables();
        const root = tables.newRoot();
        for (const { address: at, frame, flags } of list) tables.mapPage(root, at, frame, { flags });
        const wanted = list.findLast((each) => each.address === address);
        const seen = ram.translate(format, root, address);
        const granted = seen && { frame: seen.frame, flags: seen.rights & RIGHTS };
        expect(granted).toEqual(wanted && { frame: wanted.frame, flags: wanted.flags });
      }),
    );
  });

  it("map large pages whole", () => {
    const ram = new FlatRam(2048);
    const loader = new Loader({ ram, format, vcpus: 1 });
    const tables = loader.tables();
    const root = tables.newRoot();
    const bytes = tables.format.largePageBytes;
    tables.mapLargePage(root, 3 * bytes, bytes / PAGE, { flags: EntryFlag.writable });
    expect(ram.translate(format, root, 3 * bytes - PAGE)).toBeUndefined();
    expect(ram.translate(format, root, 3 * bytes)?.frame).toBe(bytes / PAGE);
    expect(ram.translate(format, root, 4 * bytes - PAGE)?.frame).toBe((2 * bytes) / PAGE - 1);
    expect(ram.translate(format, root, 4 * bytes)).toBeUndefined();
  });
});

describe.each(everyKernel)("a $format kernel with a $personality", ({ format, personality }) => {
  const wish = { personality, areas: [{ start: 0x0100_0000, pages: 4 }], dataWords: 3000, largePages: false };

  it("sees its data at one offset, and other memory only where that is its habit", () => {
    const { ram, image } = boot(format, wish);
    for (let frame = 1; frame < ram.pages; frame += 7) {
      const seen = ram.translate(format, image.root, image.map.kernelBase + frame * PAGE);
      const isData = frame * PAGE < (image.windowTable + 1) * PAGE;
      const shown = seen && { frame: seen.frame, flags: seen.rights & RIGHTS };
      const isSeen = isData || personality === "one-to-one";
      expect(shown).toEqual(isSeen ? { frame, flags: EntryFlag.writable } : undefined);
    }
  });

  it("has room for everything that it keeps", () => {
    const { image, ram } = boot(format, wish);
    const starts = [
      { at: image.globals, bytes: 4 },
      { at: image.pageNext, bytes: 4 * ram.pages },
      { at: image.pageCount, bytes: 4 * ram.pages },
      { at: image.spaces, bytes: 128 * image.spacesMax },
      { at: image.perCpu, bytes: 64 * image.vcpus },
      { at: image.data, bytes: 4 * image.dataWords },
      { at: image.windowTable * PAGE, bytes: PAGE },
    ].toSorted((a, b) => a.at - b.at);
    for (const [index, { at, bytes }] of starts.entries()) {
      expect(at + bytes).toBeLessThanOrEqual(starts[index + 1]?.at ?? Infinity);
    }
  });

  it("finds the entries of its tables in the linear map, if it has one", () => {
    const { ram, image } = boot(format, wish);
    if (image.map.linearMap === 0) return;
    const at = linearEntry(format, image.map.linearMap, image.map.windows, 1);
    expect(ram.translate(format, image.root, at)?.frame).toBe(image.windowTable);
    const leaf = linearEntry(format, image.map.linearMap, image.map.kernelBase + PAGE, 1);
    const entry = ram.translate(format, image.root, leaf);
    const offset = ((leaf % PAGE) + PAGE) % PAGE;
    expect(ram.readWord((entry?.frame ?? 0) * PAGE + offset) >>> 12).toBe(1);
  });
});

it("maps all memory by large pages as well as by small ones", () => {
  for (const format of GUEST_FORMATS) {
    const { ram, image } = boot(format, { personality: "one-to-one", areas: [] });
    for (let frame = 0; frame < ram.pages; frame += 13) {
      const seen = ram.translate(format, image.root, image.map.kernelBase + frame * PAGE);
      expect(seen).toMatchObject({ frame, pageShift: format === "2level" ? 22 : 21 });
    }
  }
});

it("gives every page to one owner", () => {
  const { loader, image } = boot("pae", { personality: "one-to-one", areas: [] });
  const pages = [loader.page(), loader.consecutivePages(8, 8), ...loader.pools(3).flat()];
  const owned = pages.flatMap((page, index) =>
    index === 1 ? Array.from({ length: 8 }, (_, k) => page + k) : [page],
  );
  expect(new Set(owned).size).toBe(owned.length);
  expect(pages[1] ?? 1).toSatisfy((first: number) => first % 8 === 0);
  const freeEnd = loader.ram.readWord(image.globals + 16);
  for (const page of owned) expect(page).toBeGreaterThanOrEqual(freeEnd);
  expect(loader.ram.readWord(image.globals + 12)).toBeLessThan(freeEnd);
});

it("says what is too small, misplaced or unknown", () => {
  const kernel = { personality: "one-to-one", areas: [] };
  expect(() => boot("pae", kernel, 8)).toThrow(
    new RangeError("guest memory of 8 pages is too small: 1 more wanted, 0 left"),
  );
  expect(() => boot("pae", { ...kernel, personality: "magic" })).toThrow(
    new RangeError('a kernel reaches its tables by one-to-one, linear-map, temporary-map, not "magic"'),
  );
  expect(() => boot("pae", { ...kernel, flush: "never" })).toThrow(
    new RangeError('a kernel flushes by invlpg or reload, not "never"'),
  );
  expect(() => boot("2level", { ...kernel, areas: [{ start: 0x7fff_f000, pages: 2 }] })).toThrow(
    new RangeError("no area of user memory can be at 0x7ffff000 with 2 pages"),
  );
  expect(() => boot("pae", { ...kernel, areas: [{ start: 0x1000, pages: 512, isLarge: true }] })).toThrow(
    new RangeError("no area of user memory can be at 0x1000 with 512 pages"),
  );
  expect(() => boot("pae", { ...kernel, areas: [{ start: 0x1000, pages: 0 }] })).toThrow(
    new RangeError("no area of user memory can be at 0x1000 with 0 pages"),
  );
  const { loader } = boot("pae", kernel);
  expect(() => loader.consecutivePages(0)).toThrow(new RangeError("0 pages cannot be set aside"));
  expect(() => loader.kernel(kernel)).toThrow(new RangeError("a guest has one kernel"));
});
