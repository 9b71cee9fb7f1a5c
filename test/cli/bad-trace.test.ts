/** Traces that are damaged in every way that section 7 of the first milestone names: one line, exit code 2, no result. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "../source.ts";
import { umbra } from "./umbra.ts";

const PAE = join(ROOT, "scenarios/traces/pae.trace.gz");
const RECORD_BYTES = 40;

const folder = mkdtempSync(join(tmpdir(), "umbra-trace-"));
const json = join(folder, "result.json");
let packed = Buffer.alloc(0);
let plain = Buffer.alloc(0);

beforeAll(async () => {
  const out = join(folder, "short.trace.gz");
  await umbra(["trace", "cut", PAE, "--records", "500", "--out", out]);
  packed = readFileSync(out);
  plain = gunzipSync(packed);
  rmSync(out);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The trace with one byte of one record changed. */
function changed(offset: number, value: number): Buffer {
  const copy = Buffer.from(plain);
  copy[offset] = value;
  return gzipSync(copy);
}

test.each([
  { what: "is empty", make: () => Buffer.alloc(0), says: "the file is empty" },
  { what: "is not gzip data", make: () => plain, says: "not gzip data" },
  {
    what: "is truncated as a file",
    make: () => packed.subarray(0, packed.length >> 1),
    says: "bad gzip data: the file ends too early",
  },
  {
    what: "is corrupted as a file",
    make: () => Buffer.concat([packed.subarray(0, 300), Buffer.alloc(60, 0xff), packed.subarray(360)]),
    says: /^bad gzip data: /,
  },
  {
    what: "is truncated in a record",
    make: () => gzipSync(plain.subarray(0, RECORD_BYTES + 11)),
    says: "record 1: the trace ends after 11 of the record's 40 bytes",
  },
  {
    what: "has no end",
    make: () => gzipSync(plain.subarray(0, -RECORD_BYTES)),
    says: /^record \d+: the trace ends without an END record$/,
  },
  {
    what: "goes on behind its end",
    make: () => gzipSync(Buffer.concat([plain, plain.subarray(0, RECORD_BYTES)])),
    says: /^record \d+: /,
  },
  {
    what: "has a version that is not known",
    make: () => changed(2, 77),
    says: /^record 0: field "\w+" .*77/,
  },
  {
    what: "has a record type that is not known",
    make: () => changed(RECORD_BYTES, 99),
    says: /^record 1: field "type" .*99/,
  },
  {
    what: "is of a machine that is too large",
    make: () => changed(8 + 5, 0xff),
    says: /^record 0: field "x" /,
  },
  {
    what: "is of a machine with too many CPUs",
    make: () => changed(16, 200),
    says: 'record 0: field "y" (CPUs) is 200, not from 1 to 32',
  },
  {
    what: "names a CPU that it has not",
    make: () => changed(RECORD_BYTES + 1, 200),
    says: /^record 1: field "cpu" .*200/,
  },
])("a trace that $what", async ({ make, says }) => {
  const file = join(folder, "bad.trace.gz");
  writeFileSync(file, make());
  const { code, out, err } = await umbra(["trace", "verify", file, "--json", json]);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toMatch(/^umbra: [^\n]+\n$/);
  const start = `umbra: ${file}: `;
  expect(err.slice(0, start.length)).toBe(start);
  const pattern = typeof says === "string" ? new RegExp(`^${RegExp.escape(says)}$`) : says;
  expect(err.slice(start.length, -1)).toMatch(pattern);
  expect(readdirSync(folder)).toEqual(["bad.trace.gz"]);
});

test.each([
  { out: "/dev/full", reason: "no space left on the device" },
  { out: "absent/short.trace.gz", reason: "there is no such folder" },
  { out: ".", reason: "it is a folder" },
])("a cut that cannot be written to $out is exit code 5", async ({ out, reason }) => {
  const args = ["trace", "cut", PAE, "--records", "5", "--out", out];
  const err = `umbra: --out ${out}: cannot be written: ${reason}\n`;
  expect(await umbra(args)).toEqual({ code: 5, out: "", err });
  expect(statSync("/dev/full").isCharacterDevice()).toBe(true);
});

test("a trace that is whole is replayed", async () => {
  const file = join(folder, "good.trace.gz");
  writeFileSync(file, packed);
  const { code, err } = await umbra(["trace", "verify", file]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
});
