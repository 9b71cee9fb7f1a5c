/** The text of one function while it is rewritten. */
import type { MagicString } from "magic-string";
import type { AnyNode, CallExpression } from "acorn";
import type { Accessor } from "./accessors.ts";
import type { CodeUnit } from "./syntax.ts";

/** How one function's text is changed: shared with the rewriter of raw accesses. */
export interface UnitText {
  readonly unit: CodeUnit;
  readonly text: MagicString;
  /** Whether the place may yield. */
  readonly canYield: (node: AnyNode) => boolean;
  /** The name of a temporary. Those of nested expressions need different numbers; those side by side can share. */
  readonly temporary: (index: number) => string;
  /** Number of a new site. */
  readonly site: (node: AnyNode, name: string, accessor: Accessor) => string;
}

/** What stands before one more argument of a call: the last one may have a comma behind it already. */
export function separatorBefore(node: CallExpression, text: string): string {
  const last = node.arguments.at(-1);
  if (last === undefined) return "";
  const behind = text.slice(last.end, node.end - 1).replace(/\/\*[^]*?\*\/|\/\/.*$/gm, "");
  return behind.includes(",") ? " " : ", ";
}
