/**
 * What is given to functions that are not the program's own: JavaScript's, and those of packages. They are not rewritten,
 * so nobody would see them read a shared array; whether they are given one is asked when the program runs.
 */
import type { AnyNode, CallExpression, NewExpression } from "acorn";
import type { Colouring } from "./colour.ts";
import { memberName, propertyName } from "./nodes.ts";
import type { UnitText } from "./unit-text.ts";

/** Name of what watches in rewritten code. */
export const WATCH = "$U";

/** Expressions that are never an array. */
export const NEVER_ARRAYS: ReadonlySet<string> = new Set([
  "Super",
  "SpreadElement",
  "Literal",
  "TemplateLiteral",
  "ArrayExpression",
  "ObjectExpression",
  "ArrowFunctionExpression",
  "FunctionExpression",
  "ClassExpression",
  "UnaryExpression",
  "UpdateExpression",
  "BinaryExpression",
]);

/** Methods of collections, which keep what they are given as it is, and others that do not look at elements. */
const HARMLESS_METHODS: ReadonlySet<string> = new Set(
  "push unshift splice fill with add set has get delete indexOf lastIndexOf includes of isArray isView is resolve then log info warn error debug freeze getPrototypeOf postMessage acquire release join".split(
    " ",
  ),
);

/** Objects and functions of JavaScript's own that do not look at elements, or only by way of a conversion. */
const HARMLESS_ROOTS: ReadonlySet<string> = new Set(
  "Atomics Math Number Boolean BigInt Symbol String RegExp Date Promise console performance parseInt parseFloat isNaN isFinite setTimeout setInterval queueMicrotask".split(
    " ",
  ),
);

/** Constructors of JavaScript's own that are watched already, or look at no elements. */
const HARMLESS_CONSTRUCTORS = /^(?:\w*Array|Set|Map|WeakSet|WeakMap|WeakRef|DataView|Proxy|\w*Error)$/;

/** Rewrites the arguments of calls in one function. */
export class GivenRewriter {
  readonly #at: UnitText;
  readonly #colouring: Colouring;

  constructor(at: UnitText, colouring: Colouring) {
    this.#at = at;
    this.#colouring = colouring;
  }

  /** Lets the arguments of a call be looked at. */
  watch(node: CallExpression | NewExpression): void {
    const given = node.arguments.filter(({ type }) => !NEVER_ARRAYS.has(type));
    const to = given.length === 0 ? undefined : this.#receiver(node);
    if (to === undefined) return;
    for (const each of given) {
      this.#at.text.appendRight(each.start, `${WATCH}.given((`);
      this.#at.text.prependLeft(each.end, `), ${placeOf(this.#at, each)}, ${to})`);
    }
  }

  /** Text of who gets the arguments; undefined for a function that may have them. */
  #receiver({ type, callee }: CallExpression | NewExpression): string | undefined {
    if (callee.type === "Super") return undefined;
    const isThrough =
      callee.type === "MemberExpression" && ["call", "apply", "bind"].includes(memberName(callee.property));
    const called = isThrough ? callee.object : callee;
    const origin = this.#colouring.origin(called, this.#at.unit);
    if (origin === "library") return JSON.stringify(origin);
    if (origin === "own" || isHarmless(callee, type)) return undefined;
    if (origin === "builtin") return JSON.stringify(origin);
    // Looked up once more, which nobody notices.
    return isPath(called) ? this.#at.unit.module.text.slice(called.start, called.end) : undefined;
  }
}

/** The line of a node as rewritten code names it. */
export function placeOf({ unit }: UnitText, node: AnyNode): string {
  return JSON.stringify(`${unit.module.url}:${String(node.loc?.start.line)}`);
}

/** Whether a function that is not a package's does not look at elements. */
function isHarmless(callee: AnyNode, type: string): boolean {
  if (callee.type === "Identifier")
    return type === "NewExpression"
      ? HARMLESS_CONSTRUCTORS.test(callee.name)
      : HARMLESS_ROOTS.has(callee.name);
  if (callee.type !== "MemberExpression") return false;
  const { object } = callee;
  const root = object.type === "Identifier" ? object.name : "";
  if (object.type === "Super" || HARMLESS_ROOTS.has(root)) return true;
  return root !== "Reflect" && HARMLESS_METHODS.has(propertyName(callee) ?? "");
}

/** `a.b.c` */
function isPath(node: AnyNode): boolean {
  if (node.type === "Identifier" || node.type === "ThisExpression") return true;
  return node.type === "MemberExpression" && !node.computed && isPath(node.object);
}
