import * as fc from "fast-check";
import { expect, test } from "vitest";
import { addressOf, frameOfAddress, hex64 } from "../../../src/guest/trace/address.ts";
import { TraceCursor } from "../../../src/guest/trace/cursor.ts";
import {
  RECORD_NAMES,
  RecordType,
  cplOfFill,
  isSmapFill,
  isUserFill,
} from "../../../src/guest/trace/record.ts";
import { recordBytes } from "./trace-builder.ts";
import type { Fields } from "./trace-builder.ts";

const PAGE = 4096;

const byte = fc.integer({ min: 0, max: 255 });
const wide = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const fields: fc.Arbitrary<Required<Fields>> = fc.record({
  type: fc.constantFrom(...Object.values(RecordType)),
  cpu: byte,
  a: byte,
  b: byte,
  c: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  x: wide,
  y: wide,
  z: wide,
  w: wide,
});

function wordsOf(parts: readonly Buffer[]): Int32Array {
  const bytes = Buffer.concat(parts);
  return new Int32Array(new Uint8Array(bytes).buffer, 0, bytes.length >>> 2);
}

function join(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

function fieldsAt(cursor: TraceCursor): Required<Fields> {
  const { type, cpu, a, b, c } = cursor;
  return {
    type,
    cpu,
    a,
    b,
    c,
    x: join(cursor.xLow, cursor.xHigh),
    y: join(cursor.yLow, cursor.yHigh),
    z: join(cursor.zLow, cursor.zHigh),
    w: join(cursor.wLow, cursor.wHigh),
  };
}

/** Four bytes of a payload that is filled with one. */
function filling(byteValue: number): number {
  return byteValue * 0x0101_0101;
}

function isStateRecord(given: Fields): boolean {
  const cursor = new TraceCursor(wordsOf([recordBytes(given)]));
  cursor.next();
  return cursor.isState();
}

function tell(b: number): unknown[] {
  return [isUserFill(b), isSmapFill(b), cplOfFill(b)];
}

test("what was written as records is read back, field by field", () => {
  fc.assert(
    fc.property(fc.array(fields, { maxLength: 8 }), (records) => {
      const pages = records.map((record) => {
        const isPage = record.type === RecordType.ptpage;
        return isPage ? { ...record, c: PAGE } : record;
      });
      const parts = pages.flatMap((record) => {
        const payload = record.type === RecordType.ptpage ? [Buffer.alloc(PAGE, record.a)] : [];
        return [recordBytes(record), ...payload];
      });
      const cursor = new TraceCursor(wordsOf(parts));
      for (const [index, record] of pages.entries()) {
        expect(cursor.next()).toBe(true);
        expect(cursor.index).toBe(index);
        expect(fieldsAt(cursor)).toEqual(record);
        const last = cursor.payloadWord(1023) >>> 0;
        expect(record.type === RecordType.ptpage ? last : filling(record.a)).toBe(filling(record.a));
      }
      expect(cursor.next()).toBe(false);
    }),
  );
});

test("a cursor goes to where another stands", () => {
  const words = wordsOf([
    recordBytes({ type: RecordType.start, x: 1 }),
    recordBytes({ type: RecordType.ptpage, c: PAGE, x: 2 }),
    Buffer.alloc(PAGE, 7),
    recordBytes({ type: RecordType.invlpg, x: 3 }),
  ]);
  const [first, second] = [new TraceCursor(words), new TraceCursor(words)];
  while (first.next() && first.type !== RecordType.ptpage);
  second.moveTo(first);
  expect([second.index, second.xLow, second.payloadWord(0)]).toEqual([1, 2, 0x0707_0707]);
  expect(second.next()).toBe(true);
  expect([second.index, second.xLow, first.xLow]).toEqual([2, 3, 2]);
});

test("less than a record is none", () => {
  const words = new Int32Array(9);
  expect(new TraceCursor(words).next()).toBe(false);
});

test("state records are CR and EFER with b = 1", () => {
  expect(isStateRecord({ type: RecordType.cr, b: 1 })).toBe(true);
  expect(isStateRecord({ type: RecordType.efer, b: 1 })).toBe(true);
  expect(isStateRecord({ type: RecordType.cr })).toBe(false);
  expect(isStateRecord({ type: RecordType.pf, b: 1 })).toBe(false);
});

test("every type has a name", () => {
  for (const [name, type] of Object.entries(RecordType)) expect(RECORD_NAMES[type]).toBe(name.toUpperCase());
});

test("the b of a FILL tells user mode, SMAP and CPL", () => {
  expect(tell(13)).toEqual([true, false, 3]);
  expect(tell(14)).toEqual([false, true, 3]);
  expect(tell(0)).toEqual([false, false, 0]);
});

test("addresses are put together from halves without a sign", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 52n - 1n }), (value) => {
      const low = Number(BigInt.asIntN(32, value));
      const high = Number(BigInt.asIntN(32, value >> 32n));
      expect(BigInt(addressOf(low, high))).toBe(value);
      expect(BigInt(frameOfAddress(low, high))).toBe(value >> 12n);
      expect(hex64(low, high)).toBe(`0x${value.toString(16)}`);
    }),
  );
});
