/** Data races of users' programs: what orders two accesses, what does not, and how they are told. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { explore } from "../../../../src/index.ts";
// oxlint-disable-next-line import/no-unassigned-import -- it adds the matcher
import "../../../../src/vitest.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-races-"));
let programs = 0;

afterAll(() => rmSync(folder, { recursive: true }));

function moduleOf(text: string): URL {
  const file = join(folder, `races-${String(programs++)}.ts`);
  writeFileSync(file, text);
  return pathToFileURL(file);
}

interface Parts {
  readonly name?: string;
  readonly made?: string;
  readonly one?: string;
  readonly two?: string;
  readonly end?: string;
}

/** A main that runs something before, beside and after a thread. */
function programOf({ made = "const a = cells(4, 'a')", one = "", two = "", end = "" }: Parts): URL {
  return moduleOf(`import { cells, lock, racy, spawn } from "umbra";
export default function main() {
  ${made};
  const other = spawn(() => {
    ${one}
  }, "other");
  ${two}
  other.join();
  ${end}
}`);
}

const BUFFER = "const b = new SharedArrayBuffer(16)";
const VIEWS = `${BUFFER}, i = new Int32Array(b), u = new Uint8Array(b), l = new BigInt64Array(b)`;

test.each([
  {
    name: "beginning and end of a thread",
    made: "const a = cells(1); a[0] = 1",
    one: "a[0]++;",
    end: "a[0]++;",
  },
  {
    name: "a lock",
    made: "const a = cells(1), l = lock()",
    one: "l.acquire(); a[0]++; l.release();",
    two: "l.acquire(); a[0]++; l.release();",
  },
  {
    name: "a store that a load has seen",
    one: "a[0] = 1; Atomics.store(a, 1, 1);",
    two: "if (Atomics.load(a, 1) === 1) a[0]++;",
  },
  {
    name: "a notification",
    one: "a[0] = 1; Atomics.store(a, 2, 1); Atomics.notify(a, 1);",
    two: "if (Atomics.wait(a, 1, 0, Atomics.load(a, 2) === 1 ? 0 : 5) === 'ok') a[0]++;",
  },
  { name: "other bytes of a word", made: VIEWS, one: "u[0] = 1;", two: "u[1] = 2;" },
  { name: "the two halves of 64 bits", made: VIEWS, one: "i[0] = 1;", two: "i[1] = 2;" },
  {
    name: "atomic accesses of one size",
    made: VIEWS,
    one: "Atomics.store(u, 0, 1);",
    two: "Atomics.load(u, 0);",
  },
  {
    name: "a declaration",
    made: "const a = cells(4); racy(a.subarray(1, 2), 'a hint')",
    one: "a[1] = 1;",
    two: "a[1] = 2;",
  },
  {
    name: "a declaration, of a byte",
    made: `${VIEWS}; racy(u.subarray(2, 3), 'a hint')`,
    one: "u[2] = 1;",
    two: "u[2] = 2;",
  },
])("in order: $name", async (parts) => {
  expect(await explore(programOf(parts), { strategy: "dpor", failures: null })).toHoldInEverySchedule();
});

test.each([
  {
    name: "a plain write and a plain read",
    one: "a[0] = 1;",
    two: "a[0];",
    says: /a plain write.*a plain read|a plain read.*a plain write/,
  },
  {
    name: "a plain read and an atomic write",
    one: "a[0];",
    two: "Atomics.add(a, 0, 1);",
    says: /Atomics\.add of 32 bits/,
  },
  {
    name: "a store that is sent too early",
    one: "Atomics.store(a, 1, 1); a[0] = 1;",
    two: "if (Atomics.load(a, 1) === 1) a[0]++;",
    says: /on a\[0\]/,
  },
  {
    name: "a wait that looks at a cell",
    one: "a[1] = 1;",
    two: "Atomics.wait(a, 1, 0, 5);",
    says: /Atomics\.wait of 32 bits/,
  },
  {
    name: "locks, but not one",
    made: "const a = cells(1), l = lock('left'), r = lock('right')",
    one: "l.acquire(); a[0]++; l.release();",
    two: "r.acquire(); a[0]++; r.release();",
    says: /holding (left|right): .*holding (left|right): /,
  },
  {
    name: "a byte and its word",
    made: VIEWS,
    one: "u[3] = 255;",
    two: "i[0];",
    says: /of (8|32) bits .* of (8|32) bits/,
  },
  {
    name: "a byte and its word, atomic",
    made: VIEWS,
    one: "Atomics.store(u, 1, 1);",
    two: "Atomics.load(i, 0);",
    says: /Atomics\.store of 8 bits.*|Atomics\.load of 32 bits/,
  },
  { name: "a word and 64 bits", made: VIEWS, one: "i[1] = 7;", two: "l[0] = 1n;", says: /of 64 bits/ },
  {
    name: "what is beside a declaration",
    made: "const a = cells(4, 'a'); racy(a.subarray(1, 2), 'a hint')",
    one: "a[2] = 1;",
    two: "a[2] = 2;",
    says: /on a\[2\]/,
  },
])("nothing orders $name", async ({ says, ...parts }) => {
  const { failure } = await explore(programOf(parts), { strategy: "dpor", failures: null });
  expect(failure?.violations[0]).toMatchObject({ check: "race", message: expect.stringMatching(says) });
});

test("both sides are told: thread, function, line, locks, values", async () => {
  const program = moduleOf(`import { cells, lock, spawn } from "umbra";
function raise(words: Int32Array): void {
  words[0] = (words[0] ?? 0) + 5;
}
export default function main(): void {
  const total = cells(1, "total");
  const gate = lock("gate");
  const other = spawn(() => {
    gate.acquire();
    raise(total);
    gate.release();
  }, "raiser");
  Atomics.store(total, 0, 1);
  other.join();
}`);
  const { failure } = await explore(program, { strategy: "dpor", failures: null });
  const file = fileURLToPath(program);
  const message = failure?.violations[0]?.message ?? "";
  expect(message).toMatch(/^Data race on total: nothing orders .* and .*\.$/);
  expect(message).toContain(`raiser in raise (${file}:3), holding gate: a plain`);
  expect(message).toMatch(
    /main in main \(.*:13\), holding no lock: Atomics\.store of 32 bits \(0x\d → 0x1\)/,
  );
});

test("the sequence lock is silent because its pair is declared, and reported when it is not", async () => {
  const text = readFileSync(new URL("../../../../docs/examples/seqlock.ts", import.meta.url), "utf8");
  const declared = /^ *racy\(.*\);$/m;
  expect(text).toMatch(declared);
  const options = { input: { isCorrect: true }, executions: 500, failures: null };
  expect(await explore(moduleOf(text), options)).toHoldInEverySchedule();
  const { failure } = await explore(moduleOf(text.replace(declared, "").replace("racy, ", "")), options);
  expect(failure?.violations[0]?.message).toMatch(
    /^Data race on pair\[[12]\]: nothing orders .* in (read|write) /,
  );
});

test.each([
  { declared: "a, ' '", says: /racy: say why its races do no harm/ },
  { declared: "new Int32Array(1), 'mine'", says: /racy: the array is not on shared memory/ },
])("racy($declared) is refused", async ({ declared, says }) => {
  const program = programOf({ made: `const a = cells(1); racy(${declared})`, one: "a[0] = 1;" });
  const { failure } = await explore(program, { strategy: "dpor", failures: null });
  expect(failure?.violations[0]?.message).toMatch(says);
});
