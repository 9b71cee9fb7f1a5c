/**
 * What model code must not do, so that one text can run on threads, under a scheduler that replays it exactly,
 * and in virtual time. Comments and strings may say what they like.
 */
import type { ESTree } from "vite";
import { expect, test } from "vitest";
import { descendants, filesIn, isMemberName, lineAt, parseSource, readSource } from "./source.ts";
import type { Source } from "./source.ts";

const MODEL_ROOMS = ["src/memory", "src/locks", "src/machine", "src/hypervisor", "src/guest"];

/** Files where a bigint is worth its allocation, each with the reason why it is. */
const BIGINT_FILES: Readonly<Record<string, string>> = {
  "src/machine/x86/iced.ts": "the decoder speaks in bigints; what it says is remembered",
};

const TIME = "time comes from the clock that the engine supplies";
const WAITS = "a scheduler must know who waits for what: wait with waitWhile";
const OUTSIDE = "the model knows nothing outside itself";
const COLLECTED = "what the garbage collector does differs from run to run";
const SLOW = "bigints allocate";
const NOT_JAVASCRIPT = "Node runs these files as they stand, less their types, and this is more than a type";

/** Names that no model code may use, each with the reason. */
const BANNED: Readonly<Record<string, string>> = {
  Date: TIME,
  Temporal: TIME,
  performance: TIME,
  setTimeout: WAITS,
  setInterval: WAITS,
  setImmediate: WAITS,
  queueMicrotask: WAITS,
  Promise: WAITS,
  console: OUTSIDE,
  crypto: "randomness comes from the vCPU's own generator",
  fs: OUTSIDE,
  globalThis: OUTSIDE,
  process: OUTSIDE,
  require: OUTSIDE,
  FinalizationRegistry: COLLECTED,
  WeakRef: COLLECTED,
};

/** Kinds of syntax node that no model code may use: what to call each, and the reason. */
const BANNED_SYNTAX: Readonly<Record<string, readonly [rule: string, reason: string]>> = {
  AwaitExpression: ["await", WAITS],
  TSAnyKeyword: ["any", "nothing checks what is done with it"],
  TSEnumDeclaration: ["enum", NOT_JAVASCRIPT],
  TSModuleDeclaration: ["namespace", NOT_JAVASCRIPT],
};

const BIGINT_NAMES = new Set(["BigInt", "BigInt64Array", "BigUint64Array"]);
/** What shares memory: only src/memory may, where every access can be seen by a scheduler and a race detector. */
const SHARING_NAMES = new Set(["Atomics", "SharedArrayBuffer", "WebAssembly"]);
const WAITING_ATOMICS = new Set(["pause", "wait", "waitAsync"]);

/** A declaration file describes to the compiler what is not written in TypeScript; Node never sees it. */
const modelFiles = filesIn(...MODEL_ROOMS).filter((file) => !file.endsWith(".d.ts"));

test.each(modelFiles)("%s keeps the rules of model code", (file) => {
  expect(violations(readSource(file))).toEqual([]);
});

test("every file allowed bigints uses them", () => {
  const idle = Object.keys(BIGINT_FILES).filter((file) => !Array.from(faults(readSource(file), {})).length);
  expect(idle).toEqual([]);
});

test.each([
  { text: "const a = Math.random();", rule: "Math.random" },
  { text: "const { random } = Math;", rule: "Math taken apart" },
  { text: "const a = Date.now();", rule: "Date" },
  { text: "const a = new Date();", rule: "Date" },
  { text: "let a: Date;", rule: "Date" },
  { text: "const a = performance.now();", rule: "performance" },
  { text: "setTimeout(a, 1);", rule: "setTimeout" },
  { text: "setInterval(a, 1);", rule: "setInterval" },
  { text: "setImmediate(a);", rule: "setImmediate" },
  { text: "queueMicrotask(a);", rule: "queueMicrotask" },
  { text: "Promise.resolve();", rule: "Promise" },
  { text: "function f(): Promise<void> {}", rule: "Promise" },
  { text: "async function f() {}", rule: "async" },
  { text: "const f = async () => 1;", rule: "async" },
  { text: "class A { async f() {} }", rule: "async" },
  { text: "await a;", rule: "await" },
  { text: "for await (const a of b) {}", rule: "await" },
  { text: "await using a = b();", rule: "await" },
  { text: "process.exit();", rule: "process" },
  { text: "fs.readFileSync(a);", rule: "fs" },
  { text: "console.log(a);", rule: "console" },
  { text: "globalThis.a = 1;", rule: "globalThis" },
  { text: "const a = { crypto };", rule: "crypto" },
  { text: "new WeakRef(a);", rule: "WeakRef" },
  { text: "Atomics.load(a, 0);", rule: "Atomics" },
  { text: "let a: SharedArrayBuffer;", rule: "SharedArrayBuffer" },
  { text: "const a = new Int32Array(new SharedArrayBuffer(4));", rule: "SharedArrayBuffer" },
  { text: "let a: WebAssembly.Memory;", rule: "WebAssembly" },
  { file: "src/memory/planted.ts", text: "Atomics.wait(a, 0, 1);", rule: "Atomics.wait" },
  { file: "src/memory/planted.ts", text: "Atomics.waitAsync(a, 0, 1);", rule: "Atomics.waitAsync" },
  { file: "src/memory/planted.ts", text: "Atomics.pause();", rule: "Atomics.pause" },
  { file: "src/memory/wait.ts", text: "const { wait } = Atomics;", rule: "Atomics taken apart" },
  { text: "const a = 1n;", rule: "bigint" },
  { text: "let a: bigint;", rule: "bigint" },
  { text: "let a: 1n;", rule: "bigint" },
  { text: "const a = BigInt(1);", rule: "BigInt" },
  { file: "src/memory/planted.ts", text: "const a = new BigInt64Array(b);", rule: "BigInt64Array" },
  { text: "enum A { b }", rule: "enum" },
  { text: "namespace A { export type B = 1; }", rule: "namespace" },
  { text: "declare module 'a' {}", rule: "namespace" },
  { text: "let a: any;", rule: "any" },
  { text: "const a = b as any[];", rule: "any" },
])("reports $rule in: $text", ({ file = "src/guest/planted.ts", text, rule }) => {
  expect(violations(parseSource(file, text))).toEqual([expect.stringMatching(`^${file}:1 has ${rule}: `)]);
});

test.each([
  { text: "// Date.now(), await, any, 1n, Atomics" },
  { text: 'const a = "Date.now() async enum"; const b = `process ${a}`;' },
  { text: "clock.performance(); a.process.exit; const b = { Date: 1 };" },
  { text: "class A { process(): void {} #console = 1; } interface B { fs: number; wait(): void }" },
  { text: "const a = new Int32Array(4); const b = Math.imul(1, 2) + Math.max(1, 2);" },
  {
    file: "src/memory/planted.ts",
    text: "let a: SharedArrayBuffer; Atomics.load(b, 0); Atomics.notify(b, 0);",
  },
  { file: "src/memory/wait.ts", text: "Atomics.wait(a, 0, 1); Atomics.pause();" },
])("allows: $text", ({ file = "src/guest/planted.ts", text }) => {
  expect(violations(parseSource(file, text))).toEqual([]);
});

test("a listed file may use bigints", () => {
  const source = parseSource("src/guest/planted.ts", "const a: bigint = BigInt(1) + 1n;");
  expect(Array.from(faults(source, { "src/guest/planted.ts": "planted" }))).toEqual([]);
});

function violations(source: Source): string[] {
  return Array.from(
    faults(source, BIGINT_FILES),
    ([node, rule, reason]) => `${source.file}:${lineAt(source.text, node.start)} has ${rule}: ${reason}`,
  );
}

type Fault = readonly [node: ESTree.Node, rule: string, reason: string];

function* faults({ file, program }: Source, bigintFiles: Readonly<Record<string, string>>): Generator<Fault> {
  for (const { node, parent } of descendants(program)) {
    const fault = syntaxFault(node) ?? nameFault(file, node, parent) ?? memberFault(file, node);
    if (fault !== undefined) yield fault;
    else if (!(file in bigintFiles) && isBigint(node, parent)) {
      yield [node, node.type === "Identifier" ? node.name : "bigint", SLOW];
    }
  }
}

function syntaxFault(node: ESTree.Node): Fault | undefined {
  const banned = Object.hasOwn(BANNED_SYNTAX, node.type) ? BANNED_SYNTAX[node.type] : undefined;
  if (banned !== undefined) return [node, ...banned];
  if ("async" in node && node.async) return [node, "async", WAITS];
  const awaits = ("await" in node && node.await) || ("kind" in node && node.kind === "await using");
  return awaits ? [node, "await", WAITS] : undefined;
}

function nameFault(file: string, node: ESTree.Node, parent: ESTree.Node): Fault | undefined {
  if (node.type !== "Identifier" || isMemberName(node, parent)) return undefined;
  const reason = Object.hasOwn(BANNED, node.name) ? BANNED[node.name] : undefined;
  if (reason !== undefined) return [node, node.name, reason];
  if (SHARING_NAMES.has(node.name) && !file.startsWith("src/memory/")) {
    return [node, node.name, "only src/memory shares memory"];
  }
  const isWhole = parent.type !== "MemberExpression" || parent.computed;
  if ((node.name === "Math" || node.name === "Atomics") && isWhole) {
    return [node, `${node.name} taken apart`, "then no rule can see which of its functions is called"];
  }
  return undefined;
}

function memberFault(file: string, node: ESTree.Node): Fault | undefined {
  if (node.type !== "MemberExpression" || node.object.type !== "Identifier") return undefined;
  if (node.property.type !== "Identifier") return undefined;
  const [object, property] = [node.object.name, node.property.name];
  if (object === "Math" && property === "random") {
    return [node, "Math.random", "randomness comes from the vCPU's own generator"];
  }
  if (object === "Atomics" && WAITING_ATOMICS.has(property) && file !== "src/memory/wait.ts") {
    return [node, `Atomics.${property}`, WAITS];
  }
  return undefined;
}

function isBigint(node: ESTree.Node, parent: ESTree.Node): boolean {
  if (node.type === "TSBigIntKeyword" || (node.type === "Literal" && "bigint" in node)) return true;
  return node.type === "Identifier" && BIGINT_NAMES.has(node.name) && !isMemberName(node, parent);
}
