/** Which A bits may be missing, proved from traces made by hand. */
import { expect, test } from "vitest";
import { StaleMarks } from "../../../src/engines/replay/stale-marks.ts";
import { TraceCursor } from "../../../src/guest/trace/cursor.ts";
import { RecordType } from "../../../src/guest/trace/record.ts";
import { recordBytes } from "../../guest/trace/trace-builder.ts";
import type { Fields } from "../../guest/trace/trace-builder.ts";

const ENTRY = 0x3008;
const PAGE = 0x1234_5000;
const WITH_A = 0x7065;
const WITHOUT = WITH_A & ~0x20;

const clears: Fields = { type: RecordType.ptw, a: 4, x: ENTRY, y: WITHOUT, z: WITH_A, w: 0xc000_3008 };
const sets: Fields = { type: RecordType.ad, cpu: 1, a: 1, b: 8, c: 0x20, x: ENTRY, y: WITHOUT, z: WITH_A };
const fills: Fields = { type: RecordType.fill, cpu: 1, c: (12 << 8) | 1, x: PAGE, y: 0x7000 };

/** What may be missing in the entry after some records. */
function looseAfter(...records: readonly Fields[]): number {
  const bytes = Buffer.concat(records.map((record) => recordBytes(record)));
  const cursor = new TraceCursor(
    new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)),
  );
  const marks = new StaleMarks(2);
  for (let left = records.length; left > 0; left--) {
    cursor.next();
    marks.note(cursor);
  }
  return marks.looseBits(ENTRY);
}

/** Record 0, so that a flush at no record is before all others. */
const start: Fields = { type: RecordType.start };

test("an A that the guest cleared may stay clear when a CPU that did not flush sets it again", () => {
  expect(looseAfter(start, clears)).toBe(0);
  expect(looseAfter(start, clears, sets, fills)).toBe(0x20);
});

test.each([
  ["a load of CR3", { type: RecordType.cr, cpu: 1, a: 3, x: 0x1000 }],
  ["a load of CR4", { type: RecordType.cr, cpu: 1, a: 4, x: 0xb0 }],
  ["an invalidation of the page", { type: RecordType.invlpg, cpu: 1, x: PAGE + 0x123 }],
] as const)("not after %s between the two", (_, flush) => {
  expect(looseAfter(start, clears, flush, sets, fills)).toBe(0);
  expect(looseAfter(start, flush, clears, sets, fills)).toBe(0x20);
  expect(looseAfter(start, clears, { ...flush, cpu: 0 }, sets, fills)).toBe(0x20);
});

test("the invalidation of another page does not make it due", () => {
  const other: Fields = { type: RecordType.invlpg, cpu: 1, x: PAGE + 0x1000 };
  expect(looseAfter(start, clears, other, sets, fills)).toBe(0x20);
});

test.each([
  ["was not there before", { ...clears, z: WITHOUT, y: WITHOUT }],
  ["went with another change", { ...clears, y: WITHOUT | 0x8000 }],
  ["went with the entry", { ...clears, y: 0 }],
  ["was of an entry that is not present", { ...clears, z: WITH_A & ~1, y: WITHOUT & ~1 }],
] as const)("not if A %s", (_, store) => {
  expect(looseAfter(start, store, sets, fills)).toBe(0);
});

test("not for a walk that was refused, nor after the guest has stored to the entry", () => {
  expect(looseAfter(start, clears, sets, { ...fills, type: RecordType.pf })).toBe(0);
  expect(looseAfter(start, clears, sets, fills, { ...clears, y: WITH_A, z: WITH_A })).toBe(0);
});
