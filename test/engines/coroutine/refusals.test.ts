/** What cannot be translated is said with file, line and reason; what can be is not refused. */
import { expect, test } from "vitest";
import { refused } from "./translate.ts";

const READS = "const reads = (m) => m.loadWord(0);\n";

test.each([
  {
    what: "a getter",
    text: "class A {\n  get a() { return this.m.loadWord(0); }\n}",
    line: 2,
    reason: "the getter or setter a reaches shared memory: make it a method",
  },
  {
    what: "a setter of an object",
    text: "const o = { set a(v) { v.m.storeWord(0, v); } };",
    line: 1,
    reason: "the getter or setter a reaches shared memory: make it a method",
  },
  {
    what: "a constructor",
    text: `${READS}class A {\n  constructor(m) {\n    reads(m);\n  }\n}`,
    line: 3,
    reason: "the constructor of A reaches shared memory: do it in a method",
  },
  {
    what: "an async function",
    text: "async function f(m) { return m.loadWord(0); }",
    line: 1,
    reason: "the async function f reaches shared memory",
  },
  {
    what: "a generator",
    text: "\n\nfunction* f(m) { yield m.loadWord(0); }",
    line: 3,
    reason: "the generator f reaches shared memory",
  },
  {
    what: "a field",
    text: "class A {\n  a = 1;\n  b = m.loadWord(0);\n}",
    line: 3,
    reason: "reaches shared memory in a default value or a field of a class",
  },
  {
    what: "a static block",
    text: "class A {\n  static {\n    m.loadWord(0);\n  }\n}",
    line: 3,
    reason: "reaches shared memory in a default value or a field of a class",
  },
  {
    what: "a default of a parameter",
    text: `${READS}function f(m, a = reads(m)) {}`,
    line: 2,
    reason: "reaches shared memory in a default value or a field of a class",
  },
  {
    what: "a default in a pattern",
    text: `${READS}function f({ m, a = m.loadWord(1) }) {}`,
    line: 2,
    reason: "reaches shared memory in a default value or a field of a class",
  },
  {
    what: "a callback",
    text: "function f(m, list) {\n  return list.map((each) => m.loadWord(each));\n}",
    line: 2,
    reason: "a callback reaches shared memory: whoever calls it cannot wait for it",
  },
  {
    what: "a callback of a constructor",
    text: "const f = (m) =>\n  new Promise((resolve) => resolve(m.loadWord(0)));",
    line: 2,
    reason: "a callback reaches shared memory: whoever calls it cannot wait for it",
  },
  {
    what: "a function that is handed on by name",
    text: `${READS}list.forEach(\n  reads);`,
    line: 3,
    reason: "reads reaches shared memory and is handed to somebody who cannot wait for it",
  },
  {
    what: "a method that is handed on",
    text: "class A { reads(m) { m.loadWord(0); }\n f(list) { list.map(this.reads); } }",
    line: 2,
    reason: "reads reaches shared memory and is handed to somebody who cannot wait for it",
  },
  {
    what: "a function through call",
    text: `${READS}function f(m) { reads.call(null, m); }`,
    line: 2,
    reason: "a function that reaches shared memory is called through call, apply or bind: call it",
  },
  {
    what: "an accessor that is handed on",
    text: "function f(m, g) { g(m.loadWord); }",
    line: 1,
    reason: "loadWord is a shared access and cannot be handed on: call it",
  },
  {
    what: "a method of JavaScript's own name",
    text: "class A { push(m) { m.loadWord(0); } }",
    line: 1,
    reason:
      "the method push reaches shared memory, but is called as one of JavaScript's own: give it another name",
  },
  {
    what: "an iterator",
    text: "class A { [Symbol.iterator]() { return this.m.loadWord(0); } }",
    line: 1,
    reason: "a method with a computed name reaches shared memory",
  },
  {
    what: "an arrow function with this",
    text: "class A { f() { const g = () => this.m.loadWord(0); return g(); } }",
    line: 1,
    reason: "an arrow function that uses `this` reaches shared memory",
  },
  {
    what: "an arrow function around one with this",
    text: "class A { f(m) { const g = () => { m.loadWord(0); return () => this; }; return g(); } }",
    line: 1,
    reason: "an arrow function that uses `this` reaches shared memory",
  },
  {
    what: "the top of a module",
    text: "import { m } from './m.ts';\nm.loadWord(0);",
    line: 2,
    reason: "reaches shared memory while the module is loaded",
  },
  {
    what: "spread arguments",
    text: "function f(m, ...all) { m.storeWord(...all); }",
    line: 1,
    reason: "a shared access with spread arguments: write them out",
  },
  {
    what: "the tag of a template",
    text: "function tag(m) { m.loadWord(0); } function f() { return tag`a`; }",
    line: 1,
    reason: "the tag of a template reaches shared memory: call it",
  },
  {
    what: "the middle of an optional chain",
    text: "class A { g(m) { return m.loadWord(0); } } const f = (a) => a?.g(1).b;",
    line: 1,
    reason: "reaches shared memory in the middle of an optional chain: give what it returns a name",
  },
  {
    what: "a function that is assigned",
    text: "let f = (m) => 0;\nf = (m) => m.loadWord(0);",
    line: 2,
    reason: "a function that is assigned to a variable reaches shared memory: declare it as a function",
  },
  {
    what: "a function in an expression",
    text: "const f = (a) => a || ((m) => m.loadWord(0));",
    line: 1,
    reason: "a function in the middle of an expression reaches shared memory: give it a name",
  },
  {
    what: "a name of the explorer's own",
    text: "function f(m, $0) { m.loadWord($0 + 1); }",
    line: 1,
    reason: "$0 is the explorer's own name",
  },
])("refuses $what", ({ text, line, reason }) => {
  expect(refused(text)).toEqual([`a.ts:${String(line)}: ${reason}`]);
});

test.each([
  {
    what: "Atomics.waitAsync",
    text: "const f = (a) => Atomics.waitAsync(a, 0, 0);",
    reason: "Atomics.waitAsync cannot be explored",
  },
  {
    what: "an iterator",
    text: "class A { next() { return Atomics.load(this.a, 0); } }",
    reason:
      "the method next reaches shared memory, but is called as one of JavaScript's own: give it another name",
  },
  {
    what: "a callback",
    text: "const f = (a, l) => l.map((i) => Atomics.load(a, i));",
    reason: "a callback reaches shared memory: whoever calls it cannot wait for it",
  },
  {
    what: "a conversion that is assigned",
    text: "const f = (q, a) => { q.toString = function () { return Atomics.load(a, 0); }; };",
    reason:
      "the method toString reaches shared memory, but is called as one of JavaScript's own: give it another name",
  },
  {
    what: "a conversion of all objects of a class",
    text: "class Q {} Q.prototype.valueOf = function () { return Atomics.load(this.a, 0); };",
    reason:
      "the method valueOf reaches shared memory, but is called as one of JavaScript's own: give it another name",
  },
  {
    what: "a conversion that is a field",
    text: "const f = (a) => ({ toJSON: () => Atomics.load(a, 0) });",
    reason:
      "the method toJSON reaches shared memory, but is called as one of JavaScript's own: give it another name",
  },
])("refuses $what of a user", ({ text, reason }) => {
  expect(refused(text, true)).toEqual([`a.ts:1: ${reason}`]);
});

test.each([
  "const { load } = Atomics;",
  "const A = Atomics;",
  "const L = Atomics.load;",
  "const f = (g) => g(Atomics);",
  "const f = (g) => g(Atomics.load);",
  "const f = (a) => globalThis.Atomics.load(a, 0);",
  'const f = (a) => globalThis["Atomics"].load(a, 0);',
  "const { Atomics: A } = globalThis;",
  "const f = (a) => { const { Atomics } = globalThis; return Atomics.load(a, 0); };",
  'const f = () => Reflect.get(globalThis, "Atomics");',
  'const f = () => Object.getOwnPropertyDescriptor(globalThis, "Atomics");',
  "const f = (a) => Atomics.load.call(Atomics, a, 0);",
  "const f = (a) => Reflect.apply(Atomics.load, null, [a, 0]);",
  "const f = (a, name) => Atomics[name](a, 0);",
  "const f = () => ({ Atomics });",
  "const f = () => ({ ...Atomics });",
])("refuses Atomics under another name: %s", (text) => {
  const reason =
    "Atomics is reached by another way than a call such as Atomics.load(array, 0), which alone is seen: write that";
  expect(refused(`\n${text}`, true)).toEqual([`a.ts:2: ${reason}`]);
});

test.each([
  'const f = (a) => Atomics["load"](a, 0);',
  "const f = (a) => Atomics?.load(a, 0) + Atomics.load?.(a, 0);",
  'const f = (a) => (typeof Atomics === "undefined" ? 0 : Atomics.load(a, 0));',
  "const f = (Atomics) => Atomics.other;",
  "const f = () => ({ Atomics: 1 });",
  'const f = (g) => g("Atomics");',
])("does not refuse Atomics by its name: %s", (text) => {
  expect(refused(text, true)).toEqual([]);
});

test.each([
  {
    what: "a computed list of programs",
    text: "class A { f(m) { m.loadWord(0); } }\nconst g = (list, i, m) => list[i](m);",
  },
  {
    what: "a getter that shares its name with a coroutine",
    text: "class A { f(m) { m.loadWord(0); } } class B { get f() { return 1; } }",
  },
  {
    what: "a field that shares its name with a coroutine",
    text: "class A { f(m) { m.loadWord(0); } } const g = (b) => Math.max(b.f, 1);",
  },
  {
    what: "a parameter that hides a coroutine",
    text: `${READS}const list = [1].map((reads) => String(reads));`,
  },
  {
    what: "a function that takes functions and asks them",
    text: `const twice = (f) => { f(); f(); };\nconst g = (m) => twice(() => m.loadWord(0));`,
  },
  { what: "a user's queue", raw: true, text: "class Queue { push(v) { Atomics.store(this.a, 0, v); } }" },
  {
    what: "plain arrays of a user in a callback",
    raw: true,
    text: "const f = (a, l) => l.map((i) => a[i]);",
  },
  {
    what: "plain arrays of a user in a constructor",
    raw: true,
    text: "class A { constructor(l) { this.first = l[0]; } }",
  },
  {
    what: "modules that import each other",
    text: 'import { b } from "./b.ts"; export function a(m) { return b(m); }',
    others: { "b.ts": 'import { a, c } from "./a.ts"; export function b(m) { c(); return a(m); }' },
  },
])("does not refuse $what", ({ text, raw = false, others = {} }) => {
  expect(refused(text, raw, others)).toEqual([]);
});
