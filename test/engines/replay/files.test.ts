/** Traces as files: told about, cut, and refused when they are not in order. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunError, UsageError } from "../../../src/engines/errors.ts";
import { cutTrace } from "../../../src/engines/replay/cut-trace.ts";
import { loadTrace, wordsOf } from "../../../src/engines/replay/load-trace.ts";
import { traceInfo } from "../../../src/engines/replay/trace-info.ts";
import { verifyTrace } from "../../../src/engines/replay/verify.ts";
import { TraceCursor } from "../../../src/guest/trace/cursor.ts";
import { RecordType } from "../../../src/guest/trace/record.ts";
import { PLAIN } from "../../../src/report/text.ts";
import { cutText, traceInfoText } from "../../../src/report/trace-text.ts";
import { TraceBuilder } from "../../guest/trace/trace-builder.ts";

const TRACES = join(import.meta.dirname, "../../../scenarios/traces");
const RAM = 2 ** 20;

let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "umbra-trace-"));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function written(name: string, bytes: Buffer): string {
  const file = join(folder, name);
  writeFileSync(file, bytes);
  return file;
}

function someTrace(): TraceBuilder {
  return new TraceBuilder(RAM)
    .state(0, { cr0: 0x8000_0001, cr3: 0x1000, cr4: 0x10, cpl: 3 })
    .page(0x1000, 2, 4, { 0: 0x2007, 1: 0x1e3 })
    .page(0x2000, 1, 4, { 3: 0x3007 })
    .ad(0x1000, 2, 4, 0x20)
    .ad(0x200c, 1, 4, 0x20)
    .walk({ linear: 0x3010, physical: 0x3010, user: true })
    .fault(0x7000, 6, { cpl: 3 })
    .cr(3, 0x1000)
    .store({ physical: 0x200d, linear: 0x40_200d, size: 1, value: 5 });
}

test.each([
  ["empty.gz", Buffer.alloc(0), "the file is empty"],
  ["text.gz", Buffer.from("not a trace"), "not gzip data"],
  ["short.gz", someTrace().packed().subarray(0, 60), "bad gzip data: the file ends too early"],
  [
    "cut.gz",
    gzipSync(someTrace().bytes().subarray(0, 300)),
    "record 6: the trace ends after 20 of the page's 4096 bytes",
  ],
  [
    "type.gz",
    gzipSync(Buffer.alloc(40, 200)),
    'record 0: field "type" is 200, but a trace begins with START (1)',
  ],
])("refuses %s in one line that names it", async (name, bytes, reason) => {
  const file = written(name, bytes);
  const message = `${file}: ${reason}`;
  expect(() => loadTrace(file)).toThrow(new UsageError(message));
  expect(() => traceInfo(file)).toThrow(new UsageError(message));
  await expect(cutTrace(file, 3, join(folder, "out.gz"))).rejects.toThrow(new UsageError(message));
  await expect(verifyTrace({ file })).rejects.toThrow(new UsageError(message));
  expect(existsSync(join(folder, "out.gz"))).toBe(false);
});

test("refuses damaged gzip data", () => {
  const packed = readFileSync(join(TRACES, "2level.trace.gz"));
  packed.fill(0x55, 1000, 1100);
  const file = written("damaged.gz", packed);
  expect(() => loadTrace(file)).toThrow(/^.*damaged\.gz: bad gzip data: [^\n]+$/);
  expect(() => loadTrace(file)).toThrow(UsageError);
});

test("refuses a file that is not there, and a folder", () => {
  const missing = join(folder, "missing.gz");
  expect(() => loadTrace(missing)).toThrow(
    new UsageError(`${missing}: cannot be read: there is no such file`),
  );
  expect(() => loadTrace(folder)).toThrow(new UsageError(`${folder}: cannot be read: it is a folder`));
});

test("tells what is in a trace", () => {
  const info = traceInfo(written("info.gz", someTrace().packed()));
  expect(info).toMatchObject({
    ramBytes: RAM,
    cpus: 1,
    records: 15,
    byCpu: [15],
    handovers: 0,
    longestRun: 14,
    byType: { START: 1, CR: 5, EFER: 1, PTPAGE: 2, AD: 2, FILL: 1, PF: 1, PTW: 1, END: 1 },
  });
  const occurring = info.features.filter(({ count }) => count > 0).map(({ name, count }) => [name, count]);
  expect(occurring).toEqual([
    ["CR3 writes", 1],
    ["WP off", 1],
    ["4 KiB pages", 1],
    ["faults of user mode", 1],
    ["stores of 1", 1],
  ]);
});

test("says it in words", async () => {
  const file = written("said.gz", someTrace().packed());
  const text = traceInfoText(traceInfo(file), PLAIN).replaceAll(folder, "…");
  expect(text).toMatchInlineSnapshot(`
    "…/said.gz: 15 records, 8,792 bytes unpacked
    1 MiB of RAM, 1 CPU: 15 of CPU 0
    0 changes of CPU, at most 14 records of one in a row
      type    records
      START         1
      CR            5
      EFER          1
      PTPAGE        2
      AD            2
      FILL          1
      PF            1
      PTW           1
      END           1
      occurs               what it is                              number
      CR3 writes           MOV to CR3                                   1
      WP off               stores to tables while CR0.WP is clear       1
      4 KiB pages          walks that end in one                        1
      faults of user mode  page faults                                  1
      stores of 1          bytes to a table                             1
    never occurs: CR0 writes, CR4 writes, EFER writes, resets, paging off, 2 MiB pages, 4 MiB pages, 1 GiB pages, beyond RAM, VGA hole and ROM, implicit accesses, SMAP, faults of fetches, faults of reserved bits, refused walks that set A, stores of 2, stores of 4, stores of 8, user-mode stores, unaligned stores, page-crossing stores, later tables
    "
  `);
  const cut = await cutTrace(file, 13, join(folder, "said-cut.gz"));
  expect(cutText({ ...cut, bytes: 321 }).replaceAll(folder, "…")).toMatchInlineSnapshot(`
    "…/said-cut.gz: the first 13 records of …/said.gz, and 6 to end it; 321 bytes
    "
  `);
});

test.each([
  { name: "2level", handovers: 493 },
  { name: "pae", handovers: 277 },
  { name: "4level", handovers: 385 },
])("counts the changes of CPU in the bundled $name guest as its replay does", ({ name, handovers }) => {
  expect(traceInfo(join(TRACES, `${name}.trace.gz`)).handovers).toBe(handovers);
});

test("a cut keeps the first records, tells the CPU's state, and ends", async () => {
  const whole = someTrace();
  const out = join(folder, "first.gz");
  const result = await cutTrace(written("whole.gz", whole.packed()), 13, out);
  expect(result).toMatchObject({ kept: 13, records: 19 });
  const bytes = gunzipSync(readFileSync(out));
  expect(bytes.subarray(0, 13 * 40 + 2 * 4096)).toEqual(whole.bytes().subarray(0, 13 * 40 + 2 * 4096));
  const states: unknown[] = [];
  for (const record = new TraceCursor(wordsOf(loadTrace(out))); record.next();) {
    if (record.index >= 13) states.push([record.type, record.a, record.b, record.xLow >>> 0]);
  }
  expect(states).toEqual([
    [RecordType.cr, 0, 1, 0x8000_0001],
    [RecordType.cr, 2, 1, 0x7000],
    [RecordType.cr, 3, 1, 0x1000],
    [RecordType.cr, 4, 1, 0x10],
    [RecordType.efer, 0, 1, 0],
    [RecordType.end, 0, 0, 18],
  ]);
});

test("a cut does not part what a walk set from the walk", async () => {
  const file = written("walk.gz", someTrace().packed());
  const out = join(folder, "walk-cut.gz");
  for (const records of [8, 9, 10]) {
    // oxlint-disable-next-line no-await-in-loop -- each cut takes the place of the one before
    expect(await cutTrace(file, records, out)).toMatchObject({ kept: 8 });
  }
  expect(await cutTrace(file, 11, out)).toMatchObject({ kept: 11 });
});

test("a cut that is longer than the trace is the trace", async () => {
  const whole = someTrace();
  const out = join(folder, "same.gz");
  const result = await cutTrace(written("long.gz", whole.packed()), 1_000_000, out);
  expect(result).toMatchObject({ kept: 15, records: 15 });
  expect(gunzipSync(readFileSync(out))).toEqual(whole.bytes());
});

test("a cut can be cut again, and agrees wherever it ends", async () => {
  const first = join(folder, "once.gz");
  await cutTrace(join(TRACES, "pae.trace.gz"), 9001, first);
  for (const records of [1, 5, 30, 2345]) {
    const out = join(folder, `twice-${records}.gz`);
    // oxlint-disable-next-line no-await-in-loop -- the cut is replayed at once
    await cutTrace(first, records, out);
    // oxlint-disable-next-line no-await-in-loop -- each replay wants both cores
    const result = await verifyTrace({ file: out });
    const { outcome, fillMismatches, storeMismatches, tableMismatches, violations } = result;
    expect({ outcome, fillMismatches, storeMismatches, tableMismatches, violations }).toEqual({
      outcome: "completed",
      fillMismatches: 0,
      storeMismatches: 0,
      tableMismatches: 0,
      violations: [],
    });
  }
});

test("a cut that cannot be written leaves nothing behind", async () => {
  const file = written("unwritable.gz", someTrace().packed());
  const inside = join(folder, "inside");
  mkdirSync(inside);
  mkdirSync(join(inside, "taken"));
  await expect(cutTrace(file, 3, join(inside, "taken"))).rejects.toThrow(RunError);
  await expect(cutTrace(file, 3, join(folder, "nowhere/out.gz"))).rejects.toThrow(
    /nowhere\/out\.gz: cannot be written: /,
  );
  expect(readdirSync(inside)).toEqual(["taken"]);
  await expect(cutTrace(file, 0, join(inside, "out.gz"))).rejects.toThrow(
    "--records wants a whole number from 1, got 0",
  );
});
