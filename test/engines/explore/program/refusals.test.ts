/** Programs of users that cannot be explored: each is told in one line, with file, line and reason, and none passes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { explore } from "../../../../src/index.ts";
import type { ExploreOptions, ProgramResult } from "../../../../src/index.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-refused-"));
let programs = 0;

afterAll(() => rmSync(folder, { recursive: true }));

function run(text: string, options: ExploreOptions = {}, extension = "ts"): Promise<ProgramResult> {
  const file = join(folder, `program-${String(programs++)}.${extension}`);
  writeFileSync(file, `import { cells, check, lock, spawn } from "umbra";\n${text}`);
  return explore(pathToFileURL(file), { executions: 100, ...options });
}

async function messageOf(exploring: Promise<unknown>): Promise<string> {
  const error: unknown = await exploring.then(
    () => new Error("nothing was refused"),
    (refused: unknown) => refused,
  );
  if (!(error instanceof Error)) throw new TypeError("what is thrown is an error");
  expect(error.message.split("\n")).toHaveLength(1);
  return error.message;
}

describe("a program that is not there, or no program", () => {
  test("names its path", async () => {
    const url = pathToFileURL(join(folder, "absent.ts"));
    expect(await messageOf(explore(url))).toMatch(/absent\.ts: there is no such file$/);
    expect(await messageOf(explore(pathToFileURL(folder)))).toMatch(/: this is not a file$/);
    expect(await messageOf(explore(new URL("http://localhost/a.ts")))).toMatch(/a\.ts: a program is a file/);
  });

  test.each([
    { text: "\nconst a: number = ;", says: /program-\d+\.ts:3: Expression expected$/ },
    { text: "enum A { b }", says: /program-\d+\.ts:2: .*enum is not supported/ },
    {
      text: "export default () => cells(1)[0] = ;",
      extension: "mjs",
      says: /program-\d+\.mjs:2: Unexpected token/,
    },
    { text: 'import "./absent.ts";', says: /program-\d+\.ts: imports .*absent\.ts: there is no such file$/ },
    { text: 'import "no-such-package";', says: /program-\d+\.ts: cannot be loaded: Cannot find package/ },
    {
      text: '\nimport { nobody } from "umbra";',
      says: /program-\d+\.ts:3: cannot be loaded: SyntaxError: .*'nobody'$/,
    },
    {
      text: "\n\nnobody();",
      says: /program-\d+\.ts:4: cannot be loaded: ReferenceError: nobody is not defined$/,
    },
  ])("is told with its line: $text", async ({ text, says, extension }) => {
    expect(await messageOf(run(text, {}, extension))).toMatch(says);
  });
});

test.each([
  { options: { strategy: "clever" }, says: /option strategy wants portfolio, .* or dpor, got "clever"$/ },
  { options: { executions: 0 }, says: /option executions wants a whole number from 1 to .*, got "0"$/ },
  { options: { steps: 1.5 }, says: /option steps wants a whole number .*, got "1\.5"$/ },
  { options: { seed: -1 }, says: /option seed wants a whole number .*, got "-1"$/ },
  { options: { seconds: Number.NaN }, says: /option seconds wants a number .*, got "NaN"$/ },
  { options: { executions: "5" }, says: /option executions wants a number, got "5"$/ },
  { options: { bogus: 1 }, says: /option bogus: there is none of this name$/ },
  { options: { schedule: "9.9.9" }, says: /option schedule "9\.9\.9" names a thread that is not there/ },
])("an option that cannot be is named with its file: $options", async ({ options, says }) => {
  // What people who write JavaScript may pass.
  const given: ExploreOptions = JSON.parse(
    JSON.stringify(options),
    (_, value: unknown) => value ?? Number.NaN,
  );
  const message = await messageOf(run("export default () => cells(1)[0];", given));
  expect(message).toMatch(/^\S*program-\d+\.ts: option /);
  expect(message).toMatch(says);
});

/** Two threads beside each other, one of which does something at line 4. */
const doing = (before: string, what: string): string => `export default function main() {
  const a = cells(1); ${before}
  ${what}
  const other = spawn(() => { Atomics.store(a, 0, 1); });
  other.join();
}`;

describe("what JavaScript calls by itself cannot be interrupted", () => {
  test.each([
    { before: "const p = new Proxy({}, { get() { return a[0]; } });", what: "p.x;" },
    { before: "const p = new Proxy({}, { set() { a[0] = 1; return true; } });", what: "p.x = 1;" },
    {
      before: "const P = Proxy; const traps = {}; const p = new P({}, traps); traps.has = () => a[0] === 0;",
      what: "'x' in p;",
    },
    { before: "const p = new Proxy(() => 0, { apply: () => Atomics.load(a, 0) });", what: "p();" },
    {
      before: "const { proxy } = Proxy.revocable({}, { ownKeys() { a[0] = 1; return []; } });",
      what: "Object.keys(proxy);",
    },
    { before: "const p = Object.defineProperty({}, 'x', { get() { return a[0]; } });", what: "p.x;" },
    { before: "const p = Object.defineProperties({}, { x: { set(to) { a[0] = to; } } });", what: "p.x = 1;" },
    { before: "const p = Object.create(null, { x: { get: () => a[0] } });", what: "p.x;" },
  ])("and is refused where it happens: $before", async ({ before, what }) => {
    expect(await messageOf(run(doing(before, what)))).toMatch(
      /program-\d+\.ts:4: calls what reaches shared memory where the explorer cannot interrupt it \(.*a trap of a Proxy/,
    );
  });

  test("even where the program catches everything", async () => {
    const before = "const p = new Proxy({}, { get() { return a[0]; } });";
    expect(await messageOf(run(doing(before, "try { p.x; } catch {}")))).toMatch(
      /program-\d+\.ts:4: calls what/,
    );
  });

  test("but a proxy and a getter that reach nothing shared do as ever", async () => {
    const { failure, executions } = await run(`export default function main() {
  const a = cells(1);
  const target = { y: 3 };
  const p = new Proxy(target, { get(object, name, self) { return Reflect.get(object, name, self) + 1; } });
  const { proxy, revoke } = Proxy.revocable(target, {});
  const made = Object.create(Object.prototype, { x: { value: 5 }, z: { get() { return this.x + 1; } } });
  const own = Object.defineProperty({}, "w", { get: () => 7, enumerable: true });
  check(p.y === 4 && proxy.y === 3 && made.z === 6 && own.w === 7 && Object.keys(own)[0] === "w", "as ever");
  check(p instanceof Object && Object.create(null) !== undefined && Object.getPrototypeOf(made) === Object.prototype, "too");
  revoke();
  const other = spawn(() => { Atomics.store(a, 0, 1); });
  other.join();
}`);
    expect(failure).toBeNull();
    expect(executions).toBeGreaterThan(0);
  });
});

describe("a function that reaches shared memory", () => {
  test.each([
    "const o = { m() { return a[0]; } }; [1].map(o.m);",
    "const o = { m: (...all) => a[0] + all.length }; [1, null].forEach(o.m);",
    "class K { static m(x) { return a[0] + x; } } [1, 2].sort(K.m);",
    "const { m } = { m: (x, y,) => a[0] }; [1].map(m);",
    "const o = {}; o.m = function () { return a[0]; }; Reflect.apply(o.m, o, []);",
    "const o = { handleEvent() { a[0] = 1; } }; const t = new EventTarget(); t.addEventListener('x', o); t.dispatchEvent(new Event('x'));",
  ])("is seen to be called by others: %s", async (text) => {
    expect(await messageOf(run(doing("", text), {}, "mjs"))).toMatch(
      /program-\d+\.mjs:4: \w+ reaches shared memory and is called where the explorer cannot interrupt it/,
    );
  });

  test("may have any parameters and any spacing", async () => {
    const { failure, executions } = await run(
      `function one(){c[0]++}
const two=(first=1,...rest)=>{c[first]+=rest.length};
const three=x=>c[x], o={four(...all){c[2]=all.length;return all},five(/* ( */){return c[2]},six(a,b,){return c[a]+b}};
const c = cells(3);
export default function main(){spawn(()=>{c[0]++},"a").join();one();two(1,2,3);const all=o.four(4,undefined);
check(c[0]===2&&three(1)===2&&all.length===2&&all[1]===undefined&&o.five()===2&&o.six(0,5)===7,"as written")}`,
      {},
      "mjs",
    );
    expect(failure).toBeNull();
    expect(executions).toBeGreaterThan(0);
  });
});

describe("a shared array is read by nothing that the explorer does not see", () => {
  test.each([
    { what: "const { 0: y } = a;" },
    { what: "let y; ({ 0: y } = a);" },
    { what: "const { ...all } = a;" },
    { what: "const name = 0; const { [name]: y } = a;" },
    { what: "const first = ({ 0: y }) => y; first(a);" },
    { what: "const first = ([y]) => y; first(a);" },
    { what: "const { held: { 0: y } } = { held: a };" },
    { what: "String(a);" },
    { what: "`${a}`;" },
    { what: "'' + [a];" },
    { what: "JSON.stringify({ a });" },
    { what: "Array.prototype.at.call(a, 0);" },
    { before: "const { at } = a;", what: "at.call(a, 0);" },
    { before: "const call = (read) => read.call(a, 0);", what: "call(Array.prototype.at);", line: 3 },
    { what: "Reflect.get(a, 0);" },
    { what: "structuredClone(a);" },
    { what: "structuredClone(a.buffer);" },
    { what: "a.buffer.slice();" },
    {
      before: "class Own extends Int32Array { first() { return super.at(0); } }",
      what: "new Own(a.buffer, a.byteOffset, 1).first();",
      line: 3,
    },
    { before: "const proxy = new Proxy(a, {});", what: "proxy[0];", line: 3 },
    { before: "const heir = Object.create(a);", what: "heir[0];", line: 3 },
    { what: "Buffer.from(a.buffer);" },
  ])("but refused with its line: $before $what", async ({ before = "", what, line = 4 }) => {
    expect(await messageOf(run(doing(before, what)))).toMatch(
      new RegExp(
        `program-\\d+\\.ts:${String(line)}: (?:accesses a shared array where|reads a whole shared buffer where|` +
          "gives shared memory to a function outside of|hides a shared array behind)",
      ),
    );
  });

  test("while a module is loaded, too, when others could keep it", async () => {
    const main = "export default () => { Atomics.load(a, 0); };";
    const before = 'import { inspect } from "node:util";\nconst a = cells(1);';
    expect(await messageOf(run(`${before}\nBuffer.from(a.buffer);\n${main}`))).toMatch(
      /program-\d+\.ts:4: gives shared memory to/,
    );
    expect(await messageOf(run(`${before}\ninspect(a);\n${main}`))).toMatch(
      /program-\d+\.ts:4: gives shared memory to/,
    );
    expect(await messageOf(run(`${before}\nnew Proxy(a, {});\n${main}`))).toMatch(
      /program-\d+\.ts:4: hides a shared array/,
    );
    expect((await run(`${before}\nString(a);\n${main}`)).failure).toBeNull();
  });

  test("and what does no harm is not refused", async () => {
    const { failure, executions } = await run(`export default function main() {
  const a = cells(2), plain = [5, 6], bytes = Uint8Array.of(1, 2);
  const list = [], byName = new Map(), known = new WeakSet();
  list.push(a); byName.set("a", a); known.add(a);
  const { length, byteOffset } = a, { 0: first, ...others } = plain, { x, ...rest } = { x: 1, buffer: 2 };
  const take = ({ 0: one, ...more }, [two]) => one + two + more[1];
  const held = { read: (of) => Atomics.load(of, 0), pass: (f, of) => f(of) };
  const seen = new Proxy({ y: 3 }, { get: (target, name) => (name === "y" ? 7 : null) });
  const { y, ...nothing } = seen;
  const text = String(plain) + \`\${bytes}\` + JSON.stringify({ bytes }) + Array.prototype.at.call(plain, 1);
  check(text === '5,61,2{"bytes":{"0":1,"1":2}}6', text);
  check(length === 2 && byteOffset >= 0 && first === 5 && others[1] === 6 && rest.buffer === 2 && x === 1, "parts");
  check(take(plain, bytes) === 12 && held.read(a) === 0 && held.pass(held.read, list[0]) === 0, "calls");
  check(y === 7 && Array.isArray(a) === false && ArrayBuffer.isView(a) && Object.is(a, list[0]), "kinds");
  check(new Uint8Array(a.buffer, a.byteOffset, 8).length === 8 && structuredClone(bytes)[1] === 2, "views");
  const other = spawn(() => { Atomics.store(a, 0, 1); });
  other.join();
}`);
    expect(failure).toBeNull();
    expect(executions).toBeGreaterThan(0);
  });
});

test.each([
  {
    text: "cells(-1);",
    says: /^RangeError: shared words are counted from 0, got -1 \(at \S*program-\d+\.ts:4\)$/,
  },
  {
    text: "cells(1e9);",
    says: /1000000000 shared words where \d+ are left .*program-\d+\.ts:4\)$/,
  },
  {
    text: "for (let i = 0; i < 40; i++) spawn(() => { Atomics.store(a, 0, 1); });",
    says: /^RangeError: more than 32 threads \(at \S*program-\d+\.ts:4\)$/,
  },
])("a limit is told with the line that meets it: $text", async ({ text, says }) => {
  const { failure } = await run(doing("", text));
  expect(failure?.violations[0]?.message).toMatch(says);
});

test("spawning in a callback says what to do instead", async () => {
  const text =
    "export default () => {\n [1, 2].map((i) => spawn(() => { Atomics.add(cells(1), 0, i); }));\n};";
  expect(await messageOf(run(text))).toMatch(
    /program-\d+\.ts:3: a callback spawns a thread: whoever calls it cannot wait for it; spawn in a loop instead$/,
  );
});

test("a function without a name has none in the text", async () => {
  const text = "export default () => {\n (function* () { Atomics.load(cells(1), 0); })();\n};";
  expect(await messageOf(run(text))).toMatch(/program-\d+\.ts:3: the generator reaches shared memory$/);
});

describe("a program that never answers", () => {
  const rest = "export default () => { Atomics.load(cells(1), 0); };";

  test("is given up while it is loaded", async () => {
    const says =
      /program-\d+\.ts: the module was not loaded in 2 s: a loop at its top level, or an await, has no end$/;
    const text = `await new Promise(() => {});\n${rest}`;
    expect(await messageOf(run(text, { patience: 2, workers: 1 }))).toMatch(says);
  });

  test.each([`process.exit(0);\n${rest}`, rest.replace("};", "process.exit(0); };")])(
    "is told to have ended its thread: %s",
    async (text) => {
      expect(await messageOf(run(text, { workers: 1 }))).toMatch(
        /program-\d+\.ts: the program ended its thread, with process\.exit or because of an error$/,
      );
    },
  );
});
