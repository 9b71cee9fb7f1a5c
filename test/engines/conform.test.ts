import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { conformCommand, runConform } from "../../src/cli/conform.ts";
import type { Context } from "../../src/cli/context.ts";
import { conform } from "../../src/engines/conform.ts";
import { UsageError } from "../../src/engines/errors.ts";
import { conformText } from "../../src/report/conform-text.ts";
import { PLAIN } from "../../src/report/text.ts";

const DATA = join(import.meta.dirname, "../data");
const WALKS = join(DATA, "walks-sample.ndjson.gz");
const ACCESS = join(DATA, "access-sample.ndjson.gz");

const folder = mkdtempSync(join(tmpdir(), "umbra-conform-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the recorded answers", () => {
  test.each([
    { file: WALKS, kind: "walks", cases: 9000 },
    { file: ACCESS, kind: "access", cases: 28191 },
  ])("of $kind are the walker's", async ({ file, kind, cases }) => {
    expect(await conform(file)).toEqual({ file, kind, cases, mismatches: 0, first: [] });
  });

  test("are told how far they are", async () => {
    const fractions: number[] = [];
    await conform(ACCESS, (fraction) => fractions.push(fraction));
    expect(fractions).toHaveLength(1);
    expect(fractions[0]).toBeCloseTo(0.58, 1);
  });
});

const walks = linesOf(WALKS);
const cases = linesOf(ACCESS);

describe("one bit of an expected answer, flipped, is one mismatch", () => {
  const permitted = walks.findIndex((line) => line.includes('"prot"'));
  const refused = walks.findIndex((line) => line.includes('"err"') && line.includes('"m":3'));
  test.each([
    { what: "the physical address", at: permitted, field: "pa" },
    { what: "the page size", at: permitted, field: "lg" },
    { what: "the rights", at: permitted, field: "prot" },
    { what: "the error code", at: refused, field: "err" },
    { what: "an entry after a walk", at: permitted, field: "after" },
    { what: "an entry after a refusal", at: refused, field: "after" },
  ])("in $what of a walk", async ({ at, field }) => {
    const result = await conform(written(walks.with(at, flipped(walks[at] ?? "", field))));
    expect(result).toMatchObject({ cases: 9000, mismatches: 1, first: [{ line: at + 1 }] });
  });

  const refusedCase = cases.findIndex((line) => /^\[\d+,[1-9]/.test(line));
  // Only the answer for a large page says something of all A and D bits.
  const largeCase = cases.findIndex(
    (line) => /^\[\d+,-1,\d+,0/.test(line) && (flagsOf(line) & (1 << 12)) !== 0,
  );
  test.each([
    { what: "the error code", at: refusedCase, index: 1, bit: 2 },
    { what: "pte.A", at: largeCase, index: 2, bit: 1 },
    { what: "pte.D", at: largeCase, index: 2, bit: 2 },
    { what: "pde.A", at: largeCase, index: 2, bit: 4 },
    { what: "pde.D", at: largeCase, index: 2, bit: 8 },
  ])("in $what of a case", async ({ at, index, bit }) => {
    const numbers: number[] = JSON.parse(cases[at] ?? "");
    numbers[index] = (numbers[index] ?? 0) ^ bit;
    const result = await conform(written(cases.with(at, JSON.stringify(numbers))));
    expect(result).toMatchObject({ mismatches: 1, first: [{ line: at + 1 }] });
  });

  test("but not in pde.D of a case without a large page, nor in pde.A of a loose one", async () => {
    const at = cases.findIndex((line) => /^\[\d+,0,\d+,1\]$/.test(line));
    const [flags = 0, error = 0, bits = 0] = JSON.parse(cases[at] ?? "") as number[];
    const loose = JSON.stringify([flags, error, bits ^ 12, 1]);
    expect(await conform(written(cases.with(at, loose)))).toMatchObject({ mismatches: 0 });
  });
});

test("no more than ten mismatches are shown, of however many", async () => {
  const result = await conform(written(walks.slice(0, 25).map((line) => flipped(line, "after"))));
  expect([result.mismatches, result.first.length]).toEqual([25, 10]);
  expect(conformText(result).split("\n").slice(-2)).toEqual(["and 15 more", ""]);
});

test("a mismatch says which walk was asked for, what was expected and what came", async () => {
  const [line = ""] = walks;
  const result = await conform(written([line.replace('"lg":12', '"lg":22')]));
  expect(conformText({ ...result, file: "walks.ndjson" })).toMatchInlineSnapshot(`
    "walks.ndjson: 1 recorded walk, 1 answered differently
    line 1: 2 levels, CR3 1459000, user read of 2251cd03, wp smap ac pse pse36 gigabyte
      entries   19b5267 at 1459224, b3a73305 at 19b5470
      expected  physical address b3a73d03, page of 2^22 bytes, rights r-x; entries after: 19b5267 b3a73325
      got       physical address b3a73d03, page of 2^12 bytes, rights r-x; entries after: 19b5267 b3a73325
    "
  `);
});

describe("bad input is refused in one line", () => {
  const header = cases[0] ?? "";
  const [walk = ""] = walks;
  test.each([
    {
      what: "a file that is not there",
      lines: undefined,
      says: "absent: cannot be read: there is no such file",
    },
    { what: "an empty file", lines: [], says: ": the file is empty" },
    { what: "something else than JSON", lines: ["umbra"], says: ":1: not JSON" },
    { what: "something else than a table", lines: ["[1,2]"], says: ":1: neither a recorded walk" },
    { what: "a line that ends early", lines: [walk, walk.slice(0, 40)], says: ":2: not JSON" },
    { what: "an empty line", lines: [walk, "", walk], says: ":2: not JSON" },
    { what: "a list among walks", lines: [walk, "[]"], says: ":2: not a recorded walk" },
    {
      what: "a number of levels",
      lines: [walk.replace('"m":2', '"m":5')],
      says: ':1: field "m" must be a whole number from 2 to 4, not 5',
    },
    {
      what: "an unknown access",
      lines: [walk.replace(/"acc":"."/, '"acc":"q"')],
      says: ':1: field "acc" must be "r", "w" or "x", not "q"',
    },
    {
      what: "a number that is not hexadecimal",
      lines: [walk.replace(/"va":"/, '"va":"g')],
      says: ':1: field "va" must be a hexadecimal number',
    },
    {
      what: "a field that is missing",
      lines: [walk.replace('"cr4"', '"cr5"')],
      says: ':1: field "cr4" must be a hexadecimal number of at most 16 digits, not nothing',
    },
    {
      what: "too many entries",
      lines: [walk.replace('"ent":[', '"ent":["1",')],
      says: ':1: field "ent" must be as long as "at"',
    },
    {
      what: "no entries",
      lines: [walk.replaceAll(/"(at|ent|after)":\[[^\]]*\]/g, '"$1":[]')],
      says: ':1: field "at" must be a list of 1 to 2 addresses, not []',
    },
    {
      what: "another format",
      lines: [header.replace("groundtruth-1", "groundtruth-2")],
      says: ':1: field "format" must be "access-groundtruth-1"',
    },
    {
      what: "another processor",
      lines: [header.replace('"maxphyaddr":40', '"maxphyaddr":52')],
      says: ':1: field "maxphyaddr" must be a whole number from 40 to 40',
    },
    {
      what: "cases that are missing",
      lines: cases.slice(0, -1),
      says: ':1: field "cases" says 28191, but 28190 follow',
    },
    { what: "a case with too few numbers", lines: [header, "[0,0,0]"], says: ":2: not a case" },
    { what: "a case with a fraction", lines: [header, "[0,0,0.5,0]"], says: ":2: not a case" },
    {
      what: "flags that the header does not name",
      lines: [header, "[2147483648,0,0,0]"],
      says: ":2: not a case",
    },
    {
      what: "a bit that Umbra has not",
      lines: [header, `[${2 ** 25},0,0,0]`],
      says: ':2: flags 33554432 set "twice", which Umbra has not',
    },
  ])("$what", async ({ lines, says }) => {
    const file = lines === undefined ? join(folder, "absent") : written(lines);
    const message = await messageOf(() => conform(file));
    expect(message).toContain(says);
    expect(message).toMatch(/^.*\/umbra-conform-[^\n]*$/);
  });

  test.each([
    {
      what: "cut off",
      change: (bytes: Buffer) => bytes.subarray(0, -20),
      says: "bad gzip data: the file ends too early",
    },
    {
      what: "corrupt",
      change: (bytes: Buffer) =>
        Buffer.concat([bytes.subarray(0, 90), Buffer.alloc(40, 0xff), bytes.subarray(130)]),
      says: "bad gzip data: ",
    },
  ])("gzip data that is $what", async ({ change, says }) => {
    const file = join(folder, "bad.gz");
    writeFileSync(file, change(readFileSync(WALKS)));
    expect(await messageOf(() => conform(file))).toContain(says);
  });
});

describe("umbra conform", () => {
  const texts: string[] = [];
  const context: Context = {
    out: (text) => texts.push(text),
    complain: (line) => texts.push(line),
    paint: PLAIN,
    width: 160,
    showsProgress: false,
    interruption: new AbortController().signal,
  };
  const some = walks.slice(0, 5);
  const wrong = some.map((line) => flipped(line, "after"));
  beforeEach(() => texts.splice(0));

  test("exits with 0 and prints one line when all agree", async () => {
    expect(await runConform(WALKS, {}, context)).toBe(0);
    expect(texts).toEqual([`${WALKS}: 9,000 recorded walks, 0 answered differently\n`]);
  });

  test("exits with 1 and writes the result as JSON when some differ", async () => {
    const file = written(wrong);
    const json = join(folder, "result.json");
    const codes: number[] = [];
    const command = conformCommand(context, (code) => codes.push(code));
    await command.parseAsync([file, "--json", json], { from: "user" });
    expect(codes).toEqual([1]);
    expect(texts).toEqual([conformText(await conform(file))]);
    expect(JSON.parse(readFileSync(json, "utf8"))).toEqual(await conform(file));
  });

  test.each([
    { lines: some, code: 5 },
    { lines: wrong, code: 1 },
  ])("exits with $code when the result cannot be written, and prints it instead", async ({ lines, code }) => {
    const file = written(lines);
    expect(await runConform(file, { json: join(folder, "absent", "result.json") }, context)).toBe(code);
    expect(JSON.parse(texts.at(-1) ?? "")).toEqual(await conform(file));
  });

  test("lets bad input be told by whoever started it", async () => {
    await expect(runConform(written([]), {}, context)).rejects.toThrow(UsageError);
  });
});

function linesOf(file: string): string[] {
  return gunzipSync(readFileSync(file)).toString().trimEnd().split("\n");
}

/** A file of these lines, compressed or not by turns. */
function written(lines: readonly string[]): string {
  const text = lines.map((line) => `${line}\n`).join("");
  const file = join(folder, lines.length % 2 === 0 ? "table.ndjson.gz" : "table.ndjson");
  writeFileSync(file, lines.length > 0 && file.endsWith("gz") ? gzipSync(text) : text);
  return file;
}

/** The walk with one bit of a field flipped: of a list, in its last element. */
function flipped(line: string, field: string): string {
  const walk: Record<string, unknown> = JSON.parse(line);
  const value = walk[field];
  if (typeof value === "number") walk[field] = value ^ 1;
  else if (Array.isArray(value)) walk[field] = [...value.slice(0, -1), flippedHex(String(value.at(-1)))];
  else walk[field] = flippedHex(String(value));
  return JSON.stringify(walk);
}

function flippedHex(text: string): string {
  return (BigInt(`0x${text}`) ^ 0x20n).toString(16);
}

function flagsOf(line: string): number {
  return Number(/^\[(\d+)/.exec(line)?.[1]);
}

/** The message of the UsageError that is thrown. */
async function messageOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "nothing was wrong";
}
