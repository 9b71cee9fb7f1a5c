import { expect, test } from "vitest";
import { checkTrace, isProblem, problemText } from "../../../src/guest/trace/check-trace.ts";
import { RECORD_BYTES, RecordType } from "../../../src/guest/trace/record.ts";
import { TraceBuilder, recordBytes } from "./trace-builder.ts";
import type { Fields } from "./trace-builder.ts";

const RAM = 2 ** 20;
const START = { type: RecordType.start, a: 1, c: RECORD_BYTES, x: RAM, y: 2 };

function answer(bytes: Buffer): unknown {
  const words = new Int32Array(new Uint8Array(bytes).buffer, 0, bytes.length >>> 2);
  const checked = checkTrace(words, bytes.length);
  return isProblem(checked) ? problemText(checked) : checked;
}

/** A trace of START, the record given, and END. */
function withRecord(fields: Fields, payload = Buffer.alloc(0)): Buffer {
  const end = recordBytes({ type: RecordType.end, x: 2 });
  return Buffer.concat([recordBytes(START), recordBytes(fields), payload, end]);
}

test("a trace in order is told by its START", () => {
  const trace = new TraceBuilder(RAM, 2).state(1, { cr0: 1 }).page(0x1000, 2, 4, { 1: 2 }).invlpg(0, 1);
  expect(answer(trace.bytes())).toEqual({ ramBytes: RAM, cpus: 2, records: 9 });
});

test.each([
  [{ ...START, type: RecordType.cr }, 'record 0: field "type" is CR (2), but a trace begins with START (1)'],
  [{ ...START, type: 99 }, 'record 0: field "type" is 99, but a trace begins with START (1)'],
  [{ ...START, a: 2 }, 'record 0: field "a" (version) is 2; the version understood here is 1'],
  [{ ...START, c: 48 }, 'record 0: field "c" (record size) is 48, not 40'],
  [{ ...START, x: 0 }, 'record 0: field "x" (bytes of RAM) is 0, not a multiple of 4096'],
  [{ ...START, x: 5000 }, 'record 0: field "x" (bytes of RAM) is 5000, not a multiple of 4096'],
  [
    { ...START, x: 2n ** 40n },
    'record 0: field "x" (bytes of RAM) is 1099511627776; at most 2147483648 can be replayed',
  ],
  [{ ...START, y: 0 }, 'record 0: field "y" (CPUs) is 0, not from 1 to 32'],
  [{ ...START, y: 100_000 }, 'record 0: field "y" (CPUs) is 100000, not from 1 to 32'],
  [{ ...START, cpu: 2 }, 'record 0: field "cpu" is 2, but the trace is of 2 CPUs'],
])("refuses a START that is wrong: case %#", (start, problem) => {
  expect(answer(recordBytes(start))).toBe(problem);
});

test.each([
  [{ type: 0 }, 'field "type" is 0, which no record has'],
  [{ type: 12 }, 'field "type" is 12, which no record has'],
  [START, 'field "type" is START, which only the first record is'],
  [{ type: RecordType.invlpg, cpu: 7 }, 'field "cpu" is 7, but the trace is of 2 CPUs'],
  [{ type: RecordType.cr, a: 1 }, 'field "a" (control register) is 1, not 0, 2, 3 or 4'],
  [{ type: RecordType.cr, a: 2 }, 'field "a" (control register) is 2 in a record that is not a state'],
  [{ type: RecordType.cr, b: 2 }, 'field "b" is 2, not from 0 to 1'],
  [{ type: RecordType.efer, b: 3 }, 'field "b" is 3, not from 0 to 1'],
  [{ type: RecordType.pf, a: 4 }, 'field "a" is 4, not from 0 to 3'],
  [
    { type: RecordType.fill, c: 0xd07 },
    'field "c" (log2 of the page size, bits 8 and up) is 13, not 12, 21, 22 or 30',
  ],
  [{ type: RecordType.fill, c: 0xc08 }, 'field "c" (rights, bits 0 to 7) is 8, not from 0 to 7'],
  [{ type: RecordType.fill, c: 0xc07, a: 3 }, 'field "a" is 3, not from 0 to 2'],
  [{ type: RecordType.fill, c: 0xc07, b: 16 }, 'field "b" is 16, not from 0 to 15'],
  [{ type: RecordType.ad, a: 1, b: 2, c: 0x20 }, 'field "b" (entry size) is 2, not 4 or 8'],
  [{ type: RecordType.ad, a: 1, b: 8, c: 0x20, x: 4 }, 'field "x" is not a multiple of the entry size 8'],
  [{ type: RecordType.ad, a: 1, b: 8, c: 0x21 }, 'field "c" (bits set) is 33, not A, D or both'],
  [{ type: RecordType.ad, a: 5, b: 8, c: 0x20 }, 'field "a" (level) is 5, not from 1 to 4'],
  [{ type: RecordType.ptw, a: 3 }, 'field "a" (bytes stored) is 3, not 1, 2, 4 or 8'],
  [{ type: RecordType.ptw, a: 4, x: RAM }, 'field "x" is 0x100000, beyond the 1048576 bytes of RAM'],
  [{ type: RecordType.ptpage, a: 1, c: 8192 }, 'field "c" (bytes that follow) is 8192, not 4096'],
  [{ type: RecordType.ptpage, a: 9, c: 4096 }, 'field "a" (level) is 9, not from 1 to 4'],
  [{ type: RecordType.unpt, x: 0x1010 }, 'field "x" is not the address of a page'],
  [
    { type: RecordType.unpt, x: 2n ** 63n },
    'field "x" is 0x8000000000000000, beyond the 1048576 bytes of RAM',
  ],
  [{ type: RecordType.end, x: 5 }, 'field "x" says 5 records, but 1 precede it'],
])("refuses a record that is wrong: case %#", (fields, problem) => {
  expect(answer(withRecord(fields))).toBe(`record 1: ${problem}`);
});

test("a PTPAGE must lie in RAM whole and bring its page", () => {
  const page = { type: RecordType.ptpage, a: 1, c: 4096, x: RAM - 4096 };
  expect(answer(withRecord(page, Buffer.alloc(4096)))).toEqual({ ramBytes: RAM, cpus: 2, records: 3 });
  expect(answer(withRecord({ ...page, x: RAM }, Buffer.alloc(4096)))).toBe(
    'record 1: field "x" is 0x100000, beyond the 1048576 bytes of RAM',
  );
  const whole = withRecord(page, Buffer.alloc(4096));
  expect(answer(whole.subarray(0, 1080))).toBe(
    "record 1: the trace ends after 1000 of the page's 4096 bytes",
  );
});

test("a trace that is cut off anywhere is refused, wherever that is", () => {
  const whole = new TraceBuilder(RAM).state(0, { cr0: 1 }).page(0x1000, 1, 4, {}).invlpg(0).bytes();
  expect(answer(whole)).toMatchObject({ records: 9 });
  for (let length = 0; length < whole.length; length += 13) {
    expect(answer(whole.subarray(0, length))).toEqual(expect.stringContaining("the trace ends"));
  }
  expect(answer(Buffer.alloc(0))).toBe("record 0: the trace ends after 0 of the record's 40 bytes");
  expect(answer(whole.subarray(0, -40))).toBe("record 8: the trace ends without an END record");
  expect(answer(Buffer.concat([whole, Buffer.alloc(3)]))).toBe("record 8: 3 bytes follow the END record");
});
