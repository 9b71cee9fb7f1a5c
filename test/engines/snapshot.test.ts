/** Recorded tables shadowed whole, held against the listing that was taken with them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UsageError } from "../../src/engines/errors.ts";
import { verifySnapshot } from "../../src/engines/snapshot.ts";
import type { SnapshotRequest } from "../../src/engines/snapshot.ts";
import { snapshotText } from "../../src/report/snapshot-text.ts";
import { PLAIN } from "../../src/report/text.ts";

const DATA = join(import.meta.dirname, "../data/snapshot");

let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "umbra-snapshot-"));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function request(name: string, cpu = "0"): SnapshotRequest {
  const at = join(DATA, name);
  return {
    tables: join(at, "tables.bin.gz"),
    regs: join(at, "regs.json"),
    listing: join(at, `info-tlb-cpu${cpu}.txt.gz`),
    cpu,
  };
}

function written(name: string, content: string | Buffer): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

function listing(name: string): string[] {
  return gunzipSync(readFileSync(request(name).listing))
    .toString()
    .trimEnd()
    .split("\n");
}

/** What CPU 0 of a recording has in CR3. */
function cr3Of(name: string): bigint {
  return BigInt(/"cr3": "(0x[0-9a-f]+)"/.exec(readFileSync(request(name).regs, "utf8"))?.[1] ?? "0");
}

test.each([
  { name: "2level", cpu: "0", mappings: 4526, pieces: 16_802, largePages: 12 },
  { name: "2level", cpu: "1", mappings: 4726, pieces: 17_002, largePages: 12 },
  { name: "pae", cpu: "0", mappings: 3224, pieces: 16_510, largePages: 26 },
  { name: "pae", cpu: "1", mappings: 3714, pieces: 17_000, largePages: 26 },
  { name: "4level", cpu: "0", mappings: 7584, pieces: 37_222, largePages: 58 },
  { name: "4level", cpu: "1", mappings: 9240, pieces: 38_878, largePages: 58 },
])(
  "every shadow of the $name guest's CPU $cpu is what the listing asks for",
  async ({ name, cpu, ...counts }) => {
    const result = await verifySnapshot(request(name, cpu));
    expect(result).toMatchObject({
      differences: 0,
      unlisted: 0,
      first: [],
      violations: [],
      devices: 4,
      ...counts,
    });
  },
);

test.each(["2level", "pae", "4level"])(
  "so are those of the %s guest with every optimisation off",
  async (name) => {
    const result = await verifySnapshot({ ...request(name), preset: "talk-before" });
    expect(result).toMatchObject({ differences: 0, unlisted: 0, violations: [] });
  },
);

/** A change to a line of the listing, and what comes of it. */
test.each([
  {
    what: "write access",
    line: / -G-DA----$/,
    change: (line: string) => line.replace(/-$/, "W"),
    says: /leaf shadow is 0x[0-9a-f]+21, not 0x[0-9a-f]+23$/,
  },
  {
    what: "the D bit",
    line: / XG-DA---W$/,
    change: (line: string) => line.replace("DA", "-A"),
    says: /leaf shadow is 0x8[0-9a-f]+23, not 0x8[0-9a-f]+21$/,
  },
  {
    what: "user access",
    line: /DA--UW$/,
    change: (line: string) => line.replace("UW", "-W"),
    says: /leaf shadow is 0x[0-9a-f]+27, not 0x[0-9a-f]+23$/,
  },
  {
    what: "execute access",
    line: /X--DA--UW$/,
    change: (line: string) => line.replace("X--D", "---D"),
    says: /leaf shadow is 0x8[0-9a-f]+27, not 0x[0-9a-f]{1,8}27$/,
  },
  {
    what: "the frame",
    line: /DA--UW$/,
    change: (line: string) => line.replace(/0000000(.)...000 /, "0000000$1fff000 "),
    says: /leads to frame 0x[0-9a-f]+, not 0x.fff$/,
  },
  {
    what: "the D bit of a large page",
    line: /XGPDA---W$/,
    change: (line: string) => line.replace("PDA", "P-A"),
    says: /flags of the level 2 shadow entry for 0x[0-9a-f]+ is 0x8000000000000063, not 0x8000000000000061$/,
  },
  {
    what: "write access of a device",
    line: /XG-DACT-W$/,
    change: (line: string) => line.replace("T-W", "T--"),
    says: /leaf shadow is 0xfffffff[0-9a-f]+3, not 0xfffffff[0-9a-f]+1$/,
  },
  {
    what: "the address",
    line: /^00007.*DA--U/,
    change: (line: string) => line.replace(/^00007./, "00000a"),
    says: /does not map the address for CPU 0$/,
    unlisted: [expect.stringMatching(/has no line for 0x7/)],
  },
])(
  "a listing that tells another $what differs in that line",
  async ({ line, change, says, unlisted = [] }) => {
    const lines = listing("4level");
    const index = lines.findIndex((each) => line.test(each));
    expect(index).toBeGreaterThanOrEqual(0);
    const changed = lines.with(index, change(lines[index] ?? ""));
    const file = written("changed.txt", `${changed.join("\n")}\n`);
    const result = await verifySnapshot({ ...request("4level"), listing: file });
    expect(result).toMatchObject({ differences: 1, unlisted: unlisted.length, mappings: lines.length });
    expect(result.first).toEqual([expect.stringMatching(says), ...unlisted]);
    expect(result.first[0]).toMatch(new RegExp(`^${file}:${index + 1}: `));
  },
);

test.each([
  { name: "2level", line: /XGPDA|-GPDA/ },
  { name: "pae", line: /XGPDA/ },
  { name: "pae", line: /^00000000ff.*CT/ },
  { name: "4level", line: /XGPDA/ },
  { name: "4level", line: /^ffff.*CT/ },
])("a listing of the $name guest that lacks a line like $line is found out", async ({ name, line }) => {
  const lines = listing(name);
  const index = lines.findIndex((each) => line.test(each));
  const address = BigInt(`0x${(lines[index] ?? "").slice(0, 16)}`).toString(16);
  const file = written("lacking.txt", `${lines.toSpliced(index, 1).join("\n")}\n`);
  const result = await verifySnapshot({ ...request(name), listing: file });
  expect(result).toMatchObject({ differences: 0, unlisted: 1, mappings: lines.length - 1 });
  const { tables } = request(name);
  expect(result.first).toEqual([`${file}: has no line for 0x${address}, which ${tables} maps for CPU 0`]);
  expect(snapshotText(result, PLAIN)).toMatch(/\n1 mapping with no line in the listing\n/);
});

test("a listing of one line lacks everything else that the tables map", async () => {
  const one = written("one.txt", `${listing("2level")[0] ?? ""}\n`);
  const result = await verifySnapshot({ ...request("2level"), listing: one });
  expect(result).toMatchObject({ differences: 0, unlisted: 4525, mappings: 1 });
  expect(result.first.length).toBe(10);
});

test("tables that point to each other without an end are refused", async () => {
  const tables = Buffer.alloc(16 + 8 + 4096);
  tables.write("PGTS");
  for (const [index, field] of [1, 4, 1, Number(cr3Of("4level") >> 12n), 15].entries())
    tables.writeUInt32LE(field, 4 + index * 4);
  for (let at = 24; at < tables.length; at += 8)
    tables.writeBigUInt64LE((cr3Of("4level") & ~0xfffn) | 0x67n, at);
  expect(await refusal({ ...request("4level"), tables: written("round", tables) })).toBe(
    "…/round: its tables point to each other, over 4112 times in all",
  );
});

test("says it in words", async () => {
  const lines = listing("2level");
  const changed = lines.with(0, (lines[0] ?? "").replace("--U-", "----"));
  const file = written("said.txt", `${changed.join("\n")}\n`);
  const right = snapshotText(await verifySnapshot(request("2level")), PLAIN).replaceAll(DATA, "…");
  const wrong = snapshotText(await verifySnapshot({ ...request("2level"), listing: file }), PLAIN);
  expect(right).toMatchInlineSnapshot(`
    "…/2level/info-tlb-cpu0.txt.gz: 4,526 mappings of CPU 0
    2 levels, preset talk; 12 large pages, 4 device pages; 16,802 pieces of 4 KiB touched, 13 pages found to be pagetables
    every shadow is what its mapping asks for
    "
  `);
  expect(
    wrong
      .replaceAll(DATA, "…")
      .replaceAll(folder, "…")
      .replaceAll(/0x[0-9a-f]+02/g, "…02"),
  ).toMatchInlineSnapshot(`
    "…/said.txt: 4,526 mappings of CPU 0
    2 levels, preset talk; 12 large pages, 4 device pages; 16,802 pieces of 4 KiB touched, 13 pages found to be pagetables
    …/said.txt:1: 0000000008068000: 0000000003dc6000 ----A----: leaf shadow is …025, not …021
    1 mapping of 4,526 with a wrong shadow
    to see it again: umbra snapshot verify …/2level/tables.bin.gz --regs …/2level/regs.json --info-tlb …/said.txt --cpu 0 --preset talk
    "
  `);
});

test("the registers of another CPU make many differences", async () => {
  const { differences } = await verifySnapshot({ ...request("2level"), cpu: "1" });
  expect(differences).toBeGreaterThan(50);
});

async function refusal(change: Partial<SnapshotRequest>): Promise<unknown> {
  try {
    return await verifySnapshot({ ...request("2level"), ...change });
  } catch (error) {
    if (error instanceof UsageError) return error.message.replaceAll(folder, "…");
    throw error;
  }
}

test("bad input is told in one line that names file, field and reason", async () => {
  const tables = gunzipSync(readFileSync(request("2level").tables));
  const patched = (offset: number, value: number): Buffer => {
    const copy = Buffer.from(tables);
    copy.writeUInt32LE(value, offset);
    return copy;
  };
  const regs = readFileSync(request("2level").regs, "utf8");
  expect(await refusal({ cpu: "x" })).toBe('--cpu wants a whole number from 0 to 1023, got "x"');
  expect(await refusal({ cpu: "7" })).toMatch(/^--cpu 7: .*regs\.json has 2 CPUs, numbered from 0$/);
  expect(await refusal({ tables: written("none", "PGTX") })).toMatch(/none: not a file of recorded tables/);
  expect(await refusal({ tables: written("v", patched(4, 2)) })).toBe(
    '…/v: field "version" is 2; the version understood here is 1',
  );
  expect(await refusal({ tables: written("m", patched(8, 5)) })).toBe(
    '…/m: field "mode" is 5, not 2, 3 or 4',
  );
  expect(await refusal({ tables: written("n", patched(12, 2 ** 31)) })).toMatch(
    /n: field "n" says 2147483648 pages/,
  );
  expect(await refusal({ tables: written("s", tables.subarray(0, 9000)) })).toMatch(
    /s: field "n" says \d+ pages, which/,
  );
  expect(await refusal({ tables: written("g", patched(16, 2 ** 24)) })).toMatch(
    /g: field "gfn" 0x1000000 is beyond/,
  );
  expect(await refusal({ tables: written("l", patched(8, 3)) })).toMatch(
    /regs\.json: field "mode" is 2, but .* of 3 levels$/,
  );
  expect(await refusal({ regs: written("r", "{") })).toBe("…/r: not JSON");
  expect(await refusal({ regs: written("r", "[]") })).toBe("…/r: not a JSON object");
  expect(await refusal({ regs: written("r", regs.replace('"cr3"', '"cr8"')) })).toMatch(
    /r: field "cpus\[0\]\.cr3" must be/,
  );
  expect(
    await refusal({ regs: written("r", regs.replace(/"cr3": "0x[0-9a-f]+"/, '"cr3": "0x70000000"')) }),
  ).toMatch(
    /r: field "cpus\[0\]\.cr0" is refused: the domain crashed: the root that CR3 names is not memory/,
  );
  expect(
    await refusal({ listing: written("t", "0000000008068000: 0000000003dc6000 ----A--U-\nabc\n") }),
  ).toBe('…/t:2: not "address: address flags", 16, 16 and 9 characters');
  expect(await refusal({ preset: "xen" })).toBe(
    '--preset wants talk-before, talk, xen-3.3 or umbra, got "xen"',
  );
});
