/** Habits that a reader relies on: short files, short functions, and a sentence above everything exported. */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ESTree } from "vite";
import { expect, test } from "vitest";
import { descendants, filesIn, lineAt, parseSource, readSource, ROOT } from "./source.ts";
import type { Source } from "./source.ts";

const LINES_MAX = 400;
const FUNCTION_LINES_MAX = 50;

/** Files that may be longer, each with the reason why it is one concept all the same. */
const LONG_FILES: Readonly<Record<string, string>> = {};

/**
 * Functions that were longer when the rule came, as `file function`, with their lines today. A number may be
 * lowered, never raised, and nothing is added: a new long function is split.
 */
const LONG_FUNCTIONS: Readonly<Record<string, number>> = {};

/** What betrays the machine a file was written on. Each is written so as not to find itself. */
const MACHINE_WORDS: Readonly<Record<string, RegExp>> = {
  "an absolute path of a build machine": /(?<![\w.~)\]}-])\/wor[k]\//,
  "the address of a package registry": /registry\.npm[j]s/,
};

const CODE = ["src", "workers", "bench", "scenarios"];

test.each(filesIn(...CODE))("%s is short", (file) => {
  expect(overlong(readSource(file))).toEqual([]);
});

test("a file or a function beyond its limit is reported", () => {
  const line = "// A line.\n";
  expect(overlong(parseSource("src/a.ts", line.repeat(LINES_MAX)))).toEqual([]);
  expect(overlong(parseSource("src/a.ts", line.repeat(LINES_MAX + 1)))).toEqual(["src/a.ts has 401 lines"]);

  const body = (lines: number): string => `() {\n${line.repeat(lines - 2)}}`;
  expect(overlong(parseSource("src/a.ts", `function f${body(FUNCTION_LINES_MAX)}`))).toEqual([]);
  expect(
    overlong(
      parseSource(
        "src/a.ts",
        `function f${body(51)}
        class C { #m${body(52)} }
        const g = ${body(53).replace("() ", "() => ")};
        const o = { h${body(54)} };`,
      ),
    ),
  ).toEqual([
    "src/a.ts f has 51 lines",
    "src/a.ts #m has 52 lines",
    "src/a.ts g has 53 lines",
    "src/a.ts h has 54 lines",
  ]);
});

test("every listed exception is still needed", () => {
  const files = Object.keys(LONG_FILES).filter(
    (file) => readSource(file).text.split("\n").length <= LINES_MAX,
  );
  const functions = Object.entries(LONG_FUNCTIONS).filter(([name, lines]) => {
    const [file = ""] = name.split(" ");
    return !Array.from(functionsIn(readSource(file))).some(
      (each) => each.name === name && each.lines === lines,
    );
  });
  expect({ files, functions }).toEqual({ files: [], functions: [] });
});

test.each(filesIn("src"))("%s says what each of its exports is", (file) => {
  expect(undocumented(readSource(file))).toEqual([]);
});

test("an export without a doc comment immediately above it is reported", () => {
  const source = parseSource(
    "src/a.ts",
    `/** Said. */
    export const table = { a: 1 } as const;
    export type table = typeof table;
    /** Said. */
    export function said(): void {}
    export function unsaid(): void {}
    // Said, but not where an editor shows it.
    export class C {}
    /** Said of something else. */
    const other = 1;
    export interface I {}
    export type T = typeof other;
    /* Not a doc comment. */
    export const [a, b] = [1, 2];
    /** Said. */
    export default function again(): void {}
    export { other };`,
  );
  expect(undocumented(source)).toEqual(["unsaid", "C", "I", "T", "a", "b"].map((name) => `src/a.ts ${name}`));
});

test("no file tells of the machine it was written on", () => {
  const listed = execFileSync("git", ["ls-files", "-z", "-co", "--exclude-standard"], { cwd: ROOT });
  const found = listed
    .toString()
    .split("\0")
    .filter((file) => statSync(join(ROOT, file), { throwIfNoEntry: false })?.isFile())
    .flatMap((file) =>
      machineWords(readFileSync(join(ROOT, file), "latin1")).map((what) => `${file} has ${what}`),
    );
  expect(found).toEqual([]);
});

test.each([
  { text: ["see /wo", "rk/main/a.ts"], words: ["an absolute path of a build machine"] },
  { text: ['"/wo', 'rk/a"'], words: ["an absolute path of a build machine"] },
  { text: ["https://registry.npm", "js.org/a"], words: ["the address of a package registry"] },
  { text: ["src/guest/wo", "rk/a.ts, ../wo", "rk/b.ts"], words: [] },
])("finds $words in $text", ({ text, words }) => {
  expect(machineWords(text.join(""))).toEqual(words);
});

function machineWords(text: string): string[] {
  return Object.keys(MACHINE_WORDS).filter((what) => MACHINE_WORDS[what]?.test(text));
}

function overlong(source: Source): string[] {
  const { file, text } = source;
  const found: string[] = [];
  const lines = text.replace(/\n$/, "").split("\n").length;
  if (lines > LINES_MAX && !(file in LONG_FILES)) found.push(`${file} has ${lines} lines`);
  for (const each of functionsIn(source)) {
    const allowed = LONG_FUNCTIONS[each.name] ?? FUNCTION_LINES_MAX;
    if (each.lines > allowed) found.push(`${each.name} has ${each.lines} lines`);
  }
  return found;
}

function* functionsIn({ file, text, program }: Source): Generator<{ name: string; lines: number }> {
  for (const { node, parent } of descendants(program)) {
    if (!isFunction(node)) continue;
    const lines = lineAt(text, node.end) - lineAt(text, node.start) + 1;
    yield { name: `${file} ${functionName(node, parent)}`, lines };
  }
}

function isFunction(node: ESTree.Node): node is ESTree.Function | ESTree.ArrowFunctionExpression {
  return ["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"].includes(node.type);
}

function functionName(node: ESTree.Function | ESTree.ArrowFunctionExpression, parent: ESTree.Node): string {
  const named =
    node.id ?? ("key" in parent ? parent.key : undefined) ?? ("id" in parent ? parent.id : undefined);
  if (named?.type === "PrivateIdentifier") return `#${named.name}`;
  return named?.type === "Identifier" ? named.name : "a function";
}

/** Exports with no doc comment. The type of a table has the table's name and shares its comment. */
function undocumented({ file, text, program, comments }: Source): string[] {
  const documented = new Set(
    comments
      .filter(({ type, start }) => type === "Block" && text.startsWith("/**", start))
      .map(({ end }) => end + (/^\s*/.exec(text.slice(end))?.[0].length ?? 0)),
  );
  const seen = new Set<string>();
  const found: string[] = [];
  for (const statement of program.body) {
    for (const name of exportedNames(statement)) {
      if (!documented.has(statement.start) && !seen.has(name)) found.push(`${file} ${name}`);
      seen.add(name);
    }
  }
  return found;
}

function exportedNames(statement: ESTree.Node): string[] {
  if (statement.type === "ExportDefaultDeclaration") return ["default"];
  if (statement.type !== "ExportNamedDeclaration" || statement.declaration === null) return [];
  const { declaration } = statement;
  if (declaration.type === "VariableDeclaration")
    return declaration.declarations.flatMap(({ id }) => bound(id));
  return "id" in declaration && declaration.id?.type === "Identifier" ? [declaration.id.name] : [];
}

function bound(pattern: ESTree.Node): string[] {
  if (pattern.type === "Identifier") return [pattern.name];
  return Array.from(descendants(pattern), ({ node }) => node)
    .filter((node) => node.type === "Identifier")
    .map(({ name }) => name);
}
