/** Questions about single nodes of a syntax tree. */
import type {
  AnonymousFunctionDeclaration,
  AnyNode,
  ArrowFunctionExpression,
  FunctionDeclaration,
  FunctionExpression,
  MemberExpression,
} from "acorn";

/** Any way to write a function. */
export type FunctionNode =
  | FunctionDeclaration
  | AnonymousFunctionDeclaration
  | FunctionExpression
  | ArrowFunctionExpression;

/** Whether an optional link stands in a chain up to and with a node. */
export function hasOptionalLink(node: AnyNode): boolean {
  if (node.type === "MemberExpression") return node.optional || hasOptionalLink(node.object);
  if (node.type === "CallExpression") return node.optional || hasOptionalLink(node.callee);
  return false;
}

/** Whether a node is a function of any kind. */
export function isFunction(node: AnyNode): node is FunctionNode {
  return (
    node.type === "FunctionDeclaration" ||
    node.type === "FunctionExpression" ||
    node.type === "ArrowFunctionExpression"
  );
}

/** The name of a key; "" when it is computed. */
export function keyName({ key, computed }: { readonly key: AnyNode; readonly computed: boolean }): string {
  return computed && key.type !== "Literal" ? "" : memberName(key);
}

/** The name of a member that is accessed; undefined when it is only known when the program runs. */
export function propertyName({ property, computed }: MemberExpression): string | undefined {
  if (!computed) return memberName(property);
  return property.type === "Literal" && typeof property.value === "string" ? property.value : undefined;
}

/** The name of a member as it is written; "" when it is computed. */
export function memberName(key: AnyNode): string {
  if (key.type === "PrivateIdentifier") return `#${key.name}`;
  if (key.type === "Identifier") return key.name;
  return key.type === "Literal" ? String(key.value) : "";
}

/** The names that a pattern binds. */
export function boundNames(pattern: AnyNode): string[] {
  if (pattern.type === "Identifier") return [pattern.name];
  if (pattern.type === "AssignmentPattern") return boundNames(pattern.left);
  if (pattern.type === "RestElement") return boundNames(pattern.argument);
  if (pattern.type === "ArrayPattern")
    return pattern.elements.flatMap((each) => (each === null ? [] : boundNames(each)));
  if (pattern.type !== "ObjectPattern") return [];
  return pattern.properties.flatMap((each) =>
    boundNames(each.type === "RestElement" ? each.argument : each.value),
  );
}

/** The nodes directly below a node, in the order of the text. */
export function children(node: AnyNode): AnyNode[] {
  const found: AnyNode[] = [];
  for (const value of Object.values(node) as unknown[]) {
    for (const each of Array.isArray(value) ? (value as unknown[]) : [value])
      if (isNode(each)) found.push(each);
  }
  return found;
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}
