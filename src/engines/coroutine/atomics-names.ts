/**
 * Other ways to reach `Atomics` than to call one of its functions by name. What goes by another name is no scheduling
 * point, and a program would pass that nobody has explored; so each is refused where it is written.
 */
import type { AnyNode, CallExpression } from "acorn";
import { children, keyName, propertyName } from "./nodes.ts";
import type { Refusal } from "./refusals.ts";
import type { CodeUnit, ModuleCode } from "./syntax.ts";

const NAME = "Atomics";

/** What is said of `Atomics` under any other name. */
export const ATOMICS_BY_NAME =
  "Atomics is reached by another way than a call such as Atomics.load(array, 0), which alone is seen: write that";

/** The lines of a module that take `Atomics`, or a function of it, as a value. */
export function refusalsOfAtomics(
  module: ModuleCode,
  isGlobal: (name: string, unit: CodeUnit) => boolean,
): Refusal[] {
  const [top] = module.units;
  const found = new Set<number>();
  const refuse = (node: AnyNode): unknown => found.add(node.loc?.start.line ?? 1);
  const visit = (node: AnyNode, around: CodeUnit | undefined, isCalled: boolean): void => {
    const unit = module.unitOf.get(node) ?? around;
    if (names(node) || (unit !== undefined && isValue(node) && isGlobal(NAME, unit))) refuse(node);
    for (const child of children(node)) {
      const isAllowed = (isCalled && isMemberOfIt(node)) || isTypeof(node);
      if (isReference(node, child) && !(isAllowed && isValue(child)))
        visit(child, unit, node.type === "CallExpression" && node.callee === child);
    }
  };
  visit(module.program, top, false);
  return [...found].map((line) => ({ url: module.url, line, reason: ATOMICS_BY_NAME }));
}

/** `Atomics` itself. */
function isValue(node: AnyNode): boolean {
  return node.type === "Identifier" && node.name === NAME;
}

function isMemberOfIt(node: AnyNode): boolean {
  return node.type === "MemberExpression" && isValue(node.object);
}

function isTypeof(node: AnyNode): boolean {
  return node.type === "UnaryExpression" && node.operator === "typeof";
}

/** Whether a child of a node is evaluated: a key that is written as a name is none. */
function isReference(node: AnyNode, child: AnyNode): boolean {
  if (node.type === "MemberExpression") return node.computed || child !== node.property;
  if (node.type === "Property" && node.shorthand) return child === node.value;
  if (["Property", "PropertyDefinition", "MethodDefinition"].includes(node.type) && "key" in node)
    return child !== node.key || ("computed" in node && node.computed);
  return true;
}

/** Whether a node names a member `Atomics` of something, which only the global object has. */
function names(node: AnyNode): boolean {
  if (node.type === "MemberExpression") return propertyName(node) === NAME;
  if (node.type === "ObjectPattern")
    return node.properties.some((each) => each.type === "Property" && keyName(each) === NAME);
  return node.type === "CallExpression" && isLookup(node);
}

/** `Reflect.get(globalThis, "Atomics")` and its kin. */
function isLookup({ callee, arguments: given }: CallExpression): boolean {
  if (callee.type !== "MemberExpression" || callee.object.type !== "Identifier") return false;
  return (
    ["Reflect", "Object"].includes(callee.object.name) &&
    given.some((each) => each.type === "Literal" && each.value === NAME)
  );
}
