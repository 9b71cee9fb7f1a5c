/** Programs of users: what is a scheduling point in them, what is refused, what is found. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { array, asyncProperty, check as fcCheck, integer } from "fast-check";
import { afterAll, expect, test } from "vitest";
import { explore } from "../../../../src/index.ts";
import type { ExploreOptions, ProgramResult } from "../../../../src/index.ts";
// oxlint-disable-next-line import/no-unassigned-import -- it adds the matcher
import "../../../../src/vitest.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-programs-"));
let programs = 0;

afterAll(() => rmSync(folder, { recursive: true }));

/** Here races are what programs are made of: their words are declared open to them. */
const HEADING = `import { cells as words, check, lock, racy, spawn } from "umbra"; \
const open = (array) => racy(array, "what comes of it is what is asked"), cells = (...args) => open(words(...args));`;

function programOf(text: string): URL {
  const file = join(folder, `program-${String(programs++)}.ts`);
  writeFileSync(file, `${HEADING}\n${text}`);
  return pathToFileURL(file);
}

function run(text: string, options: ExploreOptions = {}): Promise<ProgramResult> {
  return explore(programOf(text), { executions: 500, failures: null, ...options });
}

/** Two threads that each do something once to shared words that hold 0 and 1. */
const twice = (what: string, made = "cells(2)"): string => `
export default function main() {
  const a = open(${made});
  a[1] = 1;
  const one = spawn(() => { ${what} });
  const two = spawn(() => { ${what} });
  one.join();
  two.join();
  check(Number(a[0]) === 2, "lost: " + a[0]);
}`;

test.each([
  "a[0] += 1;",
  "a[0]++;",
  "++a[0];",
  "a[0] = a[0] + 1;",
  "const i = 0; a[i] = a[i] + a[i + 1];",
  "let seen; [seen, a[0]] = [a[0], a[0] + 1];",
  "let seen; ({ b: a[0] } = { b: a[0] + 1 });",
  "a[0] ||= 1; if (a[0] !== 0) a[0] = Number(a[0]) + 1;",
  "Atomics.store(a, 0, Atomics.load(a, 0) + 1);",
  "const seen = Atomics.load(a, 0); Atomics.exchange(a, 0, seen + 1);",
])("others come in between: %s", async (what) => {
  const { failure, nondeterminism } = await run(twice(what));
  expect(nondeterminism).toBeNull();
  expect(failure?.violations[0]?.message).toMatch(/^lost: /);
});

test.each([
  "Atomics.add(a, 0, 1);",
  "Atomics.sub(a, 0, -1);",
  "let seen = a[0]; while (Atomics.compareExchange(a, 0, seen, seen + 1) !== seen) seen = a[0];",
])("nobody comes in between: %s", async (what) => {
  expect(await run(twice(what), { strategy: "dpor" })).toHoldInEverySchedule();
});

test.each([
  "new Int32Array(new SharedArrayBuffer(8))",
  "new Uint8Array(new SharedArrayBuffer(8), 4)",
  "new Float64Array(new SharedArrayBuffer(16))",
  "new Int32Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer)",
])("any array on shared memory will do: %s", async (made) => {
  const { failure } = await run(twice("a[0]++;", made));
  expect(failure?.violations[0]?.message).toMatch(/^lost: /);
});

test("a method may be called as one of functions is", async () => {
  const text = `export default function main() {
  const a = cells(2), held = { read: (of) => Atomics.load(of, 0), call: (f, of) => f(of) };
  check(held.call(held.read, a) === 0 && Array.prototype.at.call([5, 6], 1) === 6, "called");
}`;
  expect(await run(text)).toHoldInEverySchedule();
});

test("calls without end are a failure, however deep they went when it was repeated", async () => {
  const text = `function down(a, to) { return Atomics.load(a, 0) + down(a, to + 1); }
export default () => check(down(cells(1), 0) === 0, "down");`;
  const { failure, nondeterminism } = await run(text);
  expect(nondeterminism).toBeNull();
  expect(failure?.violations[0]?.message).toMatch(
    /^Its calls go too deep, without end perhaps \(at .*:2\)\.$/,
  );
});

test("64 bits are one access", async () => {
  const made = "new BigInt64Array(new SharedArrayBuffer(16))";
  const text = twice("a[0]++;", made).replace("a[1] = 1;", "a[1] = 1n;");
  expect((await run(text)).failure?.violations[0]?.message).toMatch(/^lost: /);
  const atomic = twice("Atomics.add(a, 0, 1n);", made).replace("a[1] = 1;", "a[1] = 1n;");
  expect(await run(atomic, { strategy: "dpor" })).toHoldInEverySchedule();
});

test("an array that nobody shares has no points", async () => {
  const { points } = await run(
    "export default () => { const a = cells(1), b = [0]; a[0] = 1; b[0]++; b[0]++; };",
    {
      executions: 1,
      strategy: "dfs",
    },
  );
  const { points: more } = await run("export default () => { const a = cells(1); a[0] = 1; a[0]++; };", {
    executions: 1,
    strategy: "dfs",
  });
  expect(more - points).toBe(2);
});

test("memory of a module is as in the beginning for each execution", async () => {
  const text = `const a = cells(1); const b = new Int32Array(new SharedArrayBuffer(4)); b[0] = 7; const l = lock();
export default function main() {
  const t = spawn(() => { l.acquire(); a[0]++; b[0]++; l.release(); });
  l.acquire(); a[0]++; b[0]++; l.release(); t.join();
  check(a[0] === 2 && b[0] === 9, a[0] + " " + b[0]);
}`;
  const result = await run(text);
  expect(result).toHoldInEverySchedule();
});

test("what is left in JavaScript by an execution before is seen", async () => {
  const result = await run(`let executed = 0;
export default function main() { const a = cells(1); executed++; for (let i = 0; i < executed % 3; i++) a[0] = i; }`);
  expect(result.nondeterminism).toMatch(/went another way when it was repeated/);
  expect(() => expect(result).toHoldInEverySchedule()).toThrow(/time or chance/);
});

test("sleepers wake in the order in which they went to sleep, as many as are called", async () => {
  const text = `
export default function main() {
  const a = cells(2);
  const order = [], woken = [];
  const sleeper = (name) => () => { Atomics.add(a, 1, 1); order.push(name); woken.push(Atomics.wait(a, 0, 0) + name); };
  const one = spawn(sleeper("one"));
  while (a[1] !== 1) Atomics.pause();
  const two = spawn(sleeper("two"));
  check(Atomics.wait(a, 0, 5) === "not-equal", "not equal");
  check(Atomics.wait(a, 0, 0, 0) === "timed-out", "at once");
  let left = 2;
  while (left > 0) { const count = Atomics.notify(a, 0, 1); check(count <= 1, "one at a time"); left -= count; }
  one.join(); two.join();
  check(Atomics.notify(a, 0) === 0, "nobody is left");
  check(woken.every((each) => each.startsWith("ok")), String(woken));
}`;
  expect(await run(text, { strategy: "random", executions: 300 })).toHoldInEverySchedule();
});

test("a notification that comes too early is a deadlock", async () => {
  const { failure } = await run(`
export default function main() {
  const a = cells(2, "flag");
  const sleeper = spawn(() => { if (a[0] === 0) Atomics.wait(a, 1, 0); });
  a[0] = 1;
  Atomics.notify(a, 1);
  sleeper.join();
}`);
  expect(failure?.violations[0]).toMatchObject({ check: "deadlock" });
  expect(failure?.violations[0]?.message).toMatch(/flag\[1\]/);
});

/** A sleeper that asks for a flag before it sleeps. */
const waiting = (how: string, timeout: string): string => `
export default function main() {
  const a = cells(1);
  const sleeper = spawn(() => { ${how} (Atomics.load(a, 0) === 0) Atomics.wait(a, 0, 0${timeout}); check(Atomics.load(a, 0) === 1, "too early"); });
  Atomics.store(a, 0, 1);
  Atomics.notify(a, 0);
  sleeper.join();
}`;

test("only a loop around a wait holds against wakeups by themselves, or too early ends", async () => {
  expect(await run(waiting("if", ""))).toHoldInEverySchedule();
  const spuriousWakeups = true;
  expect(await run(waiting("while", ""), { spuriousWakeups })).toHoldInEverySchedule();
  expect((await run(waiting("if", ""), { spuriousWakeups })).failure?.violations[0]?.message).toBe(
    "too early",
  );
  expect((await run(waiting("if", ", 10"))).failure?.violations[0]?.message).toBe("too early");
});

test("a failing input shrinks together with its schedule", async () => {
  const program = programOf(`
export default function main(input) {
  const a = cells(1);
  const all = [];
  for (const by of input) all.push(spawn(() => { a[0] += by; }));
  for (const each of all) each.join();
  check(a[0] === input.reduce((sum, by) => sum + by, 0), "lost");
}`);
  const inputs = array(integer({ min: 0, max: 5 }), { maxLength: 4 });
  const { counterexample } = await fcCheck(
    asyncProperty(inputs, async (input) => {
      if (input.length === 0) return;
      expect(await explore(program, { input, executions: 200, failures: null })).toHoldInEverySchedule();
    }),
    { seed: 1 },
  );
  expect(counterexample).toEqual([[0, 1]]);
  const { failure } = await explore(program, { input: [0, 1], failures: null });
  expect(failure?.after.preemptions).toBe(1);
});

test.each([
  {
    text: "export default function main() { return 1 + 1; }",
    message: /^\S*program-\d+\.ts: has no shared access/,
  },
  { text: "export const main = 1;", message: /program-\d+\.ts: exports no function by default/ },
  {
    text: "const a = cells(1);\nexport default () => [1].map(\n  () => Atomics.load(a, 0));",
    message: /program-\d+\.ts:4: a callback reaches shared memory: whoever calls it cannot wait for it$/,
  },
  {
    text: "class A { a = cells(1);\n get b() { return Atomics.load(this.a, 0); } }\nexport default () => new A().b;",
    message: /program-\d+\.ts:3: the getter or setter b reaches shared memory: make it a method$/,
  },
  {
    text: "class A { constructor(a) {\n Atomics.store(a, 0, 1); } }\nexport default () => new A(cells(1));",
    message: /program-\d+\.ts:2: the constructor of A reaches shared memory: do it in a method$/,
  },
  {
    text: "export default async function main() { Atomics.load(cells(1), 0); }",
    message: /program-\d+\.ts:2: the async function main reaches shared memory$/,
  },
  {
    text: "class A { constructor(a) {\n this.b = a[0]; } }\nexport default () => new A(cells(1));",
    message: /program-\d+\.ts:3: accesses a shared array where the explorer cannot/,
  },
  {
    text: "export default () => {\n cells(2).fill(1); };",
    message: /program-\d+\.ts:3: accesses a shared array where/,
  },
  {
    text: "export default () => {\n const a = cells(2);\n return [...a]; };",
    message: /program-\d+\.ts:4: accesses a shared array where/,
  },
  {
    text: "export default () => {\n for (const b of cells(2)) check(b === 0, ''); };",
    message: /program-\d+\.ts:3: accesses a shared array where/,
  },
  {
    text: "export default () => {\n const a = cells(2);\n [1].forEach((b) => { a[0] = b; }); };",
    message: /program-\d+\.ts:4: accesses a shared array where/,
  },
  { text: "export default function main( {", message: /program-\d+\.ts:2: Unexpected token/ },
])("refuses $text", async ({ text, message }) => {
  await expect(run(text)).rejects.toThrow(message);
});

test("a thread that throws is a failure with its line", async () => {
  const { failure } = await run(
    "export default () => {\n const a = cells(1); a[0]++;\n throw new Error('here'); };",
  );
  expect(failure?.violations[0]?.message).toMatch(/^Error: here \(at .*program-\d+\.ts:4\)$/);
});

test("outside of the explorer there is shared memory but no threads", async () => {
  const { cells, spawn } = await import("../../../../src/index.ts");
  expect(cells(3).buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(() => spawn(() => undefined)).toThrow("only a program that explore() runs");
});

test("an execution that was given up leaves open whether every schedule holds", async () => {
  const result = await run(twice("Atomics.add(a, 0, 1);"), { executions: 20, steps: 4 });
  expect(result).toMatchObject({ failure: null, executions: 20, capped: 20 });
  const some = { ...result, capped: 1 };
  expect(() => expect(some).toHoldInEverySchedule()).toThrow(
    /1 were given up .* inconclusive: raise option steps/,
  );
});

test("a result that was not waited for says so", () => {
  const says = /wants what explore found: expect\(await explore\(…\)\)/;
  expect(() => expect(Promise.resolve()).toHoldInEverySchedule()).toThrow(says);
  expect(() => expect(5).toHoldInEverySchedule()).toThrow(says);
});
