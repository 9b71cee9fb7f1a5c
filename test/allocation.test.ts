/**
 * What runs while a vCPU runs makes neither arrays nor closures: their garbage is collected in the middle of what is
 * measured, perhaps while a lock is held. Constructors may, and so may what runs once, when a file is loaded.
 */
import type { ESTree } from "vite";
import { expect, test } from "vitest";
import { descendants, filesIn, lineAt, parseSource, readSource } from "./source.ts";
import type { Source } from "./source.ts";

const HOT_ROOMS = ["src/machine", "src/hypervisor/shadow"];

/** Files that may, each with the reason. */
const EXEMPT: Readonly<Record<string, string>> = {
  "src/machine/x86/iced.ts": "decodes bytes that are not remembered, by a library that makes objects",
  "src/hypervisor/shadow/shadow-type.ts": "names types in messages",
};

/** Methods that answer with a new array or iterator. */
const MAKERS = new Set(
  "concat entries filter flat flatMap from keys map slice splice split subarray toReversed toSorted toSpliced values".split(
    " ",
  ),
);

const hotFiles = filesIn(...HOT_ROOMS).filter((file) => !Object.hasOwn(EXEMPT, file));

test.each(hotFiles)("%s makes no arrays and no closures while a vCPU runs", (file) => {
  expect(allocations(readSource(file))).toEqual([]);
});

test.each([
  { text: "function f() { return [1, 2]; }", what: "an array" },
  { text: "class A { f() { for (const a of b.slice(0, 5)) c(a); } }", what: "slice" },
  { text: "class A { f() { return b.findIndex((c) => c === 1); } }", what: "a closure" },
  { text: "function f() { return function () {}; }", what: "a closure" },
])("reports $what in: $text", ({ text, what }) => {
  expect(allocations(parseSource("planted.ts", text))).toEqual([`planted.ts:1 makes ${what}`]);
});

test.each([
  { text: "const a = [1, 2].map((b) => b);" },
  { text: "class A { #a = [1]; constructor() { this.#a = Array.from(b, () => 1); } }" },
  { text: "class A { f() { const [a] = b; return a; } }" },
])("allows: $text", ({ text }) => {
  expect(allocations(parseSource("planted.ts", text))).toEqual([]);
});

function allocations({ file, program, text }: Source): string[] {
  const found: string[] = [];
  for (const { node, parent } of descendants(program)) {
    if (!runsLater(node, parent)) continue;
    for (const { node: inner } of descendants(node)) {
      const what = madeBy(inner);
      if (what !== undefined) found.push(`${file}:${String(lineAt(text, inner.start))} makes ${what}`);
    }
  }
  return found;
}

/** Whether a node is a function of the file's, or a method that is no constructor. */
function runsLater(node: ESTree.Node, parent: ESTree.Node): boolean {
  if (node.type === "FunctionDeclaration") return true;
  return parent.type === "MethodDefinition" && parent.kind !== "constructor" && parent.value === node;
}

function madeBy(node: ESTree.Node): string | undefined {
  if (node.type === "ArrayExpression") return "an array";
  if (node.type === "ArrowFunctionExpression" || node.type === "FunctionExpression") return "a closure";
  if (node.type !== "CallExpression" || node.callee.type !== "MemberExpression") return undefined;
  const { property } = node.callee;
  return property.type === "Identifier" && MAKERS.has(property.name) ? property.name : undefined;
}
