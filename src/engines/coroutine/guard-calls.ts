/**
 * A user's function that has become a coroutine may be called by code that knows nothing of it: as a callback of a
 * library, say. Nobody would run what it returns, and its accesses would be missing from every schedule. So each call is
 * noted where parameters are bound, which happens at once, and again where the body begins.
 */
import type { FunctionNode } from "./nodes.ts";
import type { UnitText } from "./unit-text.ts";

/** Name of what watches calls that nobody can wait for. */
const WATCH = "$U";

/** Notes the calls of a function; what its body has to begin with. */
export function guardCalls(node: FunctionNode, { text, unit }: UnitText): string {
  const source = unit.module.text;
  const rest = node.params.at(-1)?.type === "RestElement" ? node.params.at(-1) : undefined;
  // A directive allows no other parameters than plain ones, and what is taken apart at once has no name to keep.
  if (hasDirective(node) || (rest?.type === "RestElement" && rest.argument.type !== "Identifier")) return "";
  const name = unit.name === "" ? "a function" : unit.name;
  const where = JSON.stringify(`${unit.module.url}:${String(node.loc?.start.line)}`);
  const noted = `[${WATCH}.called(${JSON.stringify(name)}, ${where})]: $called`;
  if (rest?.type === "RestElement" && rest.argument.type === "Identifier") {
    text.overwrite(rest.start, rest.end, `...{ ${noted}, ...$rest }`, { contentOnly: true });
    return `let ${rest.argument.name} = Object.values($rest);${WATCH}.begun();`;
  }
  const last = node.params.at(-1);
  const at = last?.end ?? openingOf(node, source) + 1;
  const comma = last === undefined ? -1 : commaBehind(source, last.end);
  if (comma >= 0) text.overwrite(comma, comma + 1, " ", { contentOnly: true });
  text.appendLeft(at, `${last === undefined ? "" : ", "}...{ ${noted} }`);
  return `${WATCH}.begun();`;
}

function hasDirective({ body }: FunctionNode): boolean {
  return body.type === "BlockStatement" && body.body.some((each) => "directive" in each);
}

const SPACE = /(?:\s|\/\*[^]*?\*\/|\/\/.*\n)*/y;

/** Where the parameters of a function without any begin. */
function openingOf(node: FunctionNode, source: string): number {
  const isNamed = node.type === "FunctionDeclaration" || node.type === "FunctionExpression";
  const keyword = isNamed && source.startsWith("function", node.start) ? "function".length : 0;
  return skip(source, isNamed && node.id ? node.id.end : node.start + keyword);
}

/** The comma behind the last parameter, -1 when there is none. */
function commaBehind(source: string, end: number): number {
  const at = skip(source, end);
  return source[at] === "," ? at : -1;
}

function skip(source: string, from: number): number {
  SPACE.lastIndex = from;
  SPACE.test(source);
  return SPACE.lastIndex;
}
