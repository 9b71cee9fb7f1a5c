/**
 * Functions that, whichever way they take, return what a coroutine returns. They stay as they are and hand that coroutine
 * to their callers, who run it: none of their own is made, which would cost as much as another call.
 */
import type { AnyNode } from "acorn";
import type { Colouring } from "./colour.ts";
import { children, isFunction } from "./nodes.ts";
import type { CodeUnit } from "./syntax.ts";

/** Whether a coloured function of Umbra's own is such a one. Calls of a user's functions are noted one by one. */
export function isForwarder(unit: CodeUnit, colouring: Colouring): boolean {
  const { node, module, calls } = unit;
  if (node === null || module.isRaw) return false;
  const switching = calls.filter((call) => colouring.callee(call, unit).kind !== "plain");
  const coroutines = new Set(switching.map((call) => call.node as AnyNode));
  if (switching.some((call) => colouring.callee(call, unit).kind !== "coroutine")) return false;
  const { body } = node;
  if (body.type !== "BlockStatement") return forwarded(body, coroutines) === coroutines.size;
  const returns = returnsIn(body);
  const count = returns.reduce((sum, each) => sum + forwarded(each, coroutines), 0);
  return count === coroutines.size && ends(body);
}

/** How many coroutines an expression is the result of, one or another; NaN if it may be something else. */
function forwarded(node: AnyNode | null, coroutines: ReadonlySet<AnyNode>): number {
  if (node?.type === "ConditionalExpression")
    return forwarded(node.consequent, coroutines) + forwarded(node.alternate, coroutines);
  return node !== null && coroutines.has(node) ? 1 : Number.NaN;
}

/** What a function returns, except from where it would catch what is thrown or has something left to do. */
function returnsIn(node: AnyNode): (AnyNode | null)[] {
  if (isFunction(node)) return [];
  if (node.type === "TryStatement") return [null];
  if (node.type === "ReturnStatement") return [node.argument ?? null];
  return children(node).flatMap((child) => returnsIn(child));
}

/** Whether what stands behind a statement is never reached. */
function ends(node: AnyNode): boolean {
  if (node.type === "ReturnStatement" || node.type === "ThrowStatement") return true;
  if (node.type === "IfStatement") return ends(node.consequent) && ends(node.alternate ?? node.test);
  if (node.type !== "BlockStatement") return false;
  const last = node.body.at(-1);
  return last !== undefined && ends(last);
}
