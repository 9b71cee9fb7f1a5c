/** The project's own sources, parsed, for the tests that hold them to the rules of the house. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync } from "vite";
import type { ESTree } from "vite";

/** The folder of the whole project. */
export const ROOT = join(import.meta.dirname, "..");

/** One file as the rules see it: comments and strings are apart from the code, so neither can break a rule. */
export interface Source {
  /** Path from ROOT. */
  readonly file: string;
  readonly text: string;
  readonly program: ESTree.Program;
  readonly comments: readonly { readonly type: string; readonly start: number; readonly end: number }[];
}

/** Every TypeScript file in the folders given, as a path from ROOT. */
export function filesIn(...folders: readonly string[]): string[] {
  return folders.flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: ROOT })).toSorted();
}

/** A file of the project, parsed. */
export function readSource(file: string): Source {
  return parseSource(file, readFileSync(join(ROOT, file), "utf8"));
}

/** A text as if it were the content of `file`. */
export function parseSource(file: string, text: string): Source {
  const { program, comments, errors } = parseSync(file, text, { sourceType: "module" });
  const [error] = errors;
  if (error !== undefined) throw new Error(`${file} cannot be parsed: ${error.message}`);
  return { file, text, program, comments };
}

/** Every node below `node`, each with its parent, in the order of the text. */
export function* descendants(node: ESTree.Node): Generator<{ node: ESTree.Node; parent: ESTree.Node }> {
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (!isNode(child)) continue;
      yield { node: child, parent: node };
      yield* descendants(child);
    }
  }
}

/** Whether an identifier says which member is meant, as `now` in `clock.now`, rather than naming a variable. */
export function isMemberName(node: ESTree.Node, parent: ESTree.Node): boolean {
  if ("computed" in parent && parent.computed) return false;
  if ("property" in parent && parent.property === node) return true;
  return "key" in parent && parent.key === node;
}

/** The line of an offset, from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

function isNode(value: unknown): value is ESTree.Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}
