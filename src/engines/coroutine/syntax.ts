/** A module's functions and the calls in each, read off its syntax: what colouring and rewriting work on. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parse } from "acorn";
import type {
  AnonymousFunctionDeclaration,
  AnyNode,
  ArrowFunctionExpression,
  CallExpression,
  FunctionDeclaration,
  FunctionExpression,
  NewExpression,
  Program,
} from "acorn";

/** Any way to write a function. */
export type FunctionNode =
  | FunctionDeclaration
  | AnonymousFunctionDeclaration
  | FunctionExpression
  | ArrowFunctionExpression;

/** A function, method or arrow; or a module's own top level. */
export interface CodeUnit {
  readonly module: ModuleCode;
  /** Its name, "" when it has none; a private method's begins with "#". */
  readonly name: string;
  readonly kind: "module" | "function" | "method" | "accessor" | "constructor" | "arrow";
  /** Name of the class around it, "" outside of any. */
  readonly className: string;
  /** Null for the module's top level. */
  readonly node: FunctionNode | null;
  readonly parent: CodeUnit | null;
  /** What the function is written into: a call's argument, say. */
  readonly context: AnyNode | null;
  readonly calls: readonly CallSite[];
  /** Variables and parameters of its own; a variable with what it is set to, a parameter with null. */
  readonly names: ReadonlyMap<string, AnyNode | null>;
  /** Mentions `this`, `super` or `arguments`. */
  readonly usesThis: boolean;
}

/** A call, and whether it stands where a function's own code cannot wait: a parameter's default, a field of a class. */
export interface CallSite {
  readonly node: CallExpression | NewExpression;
  readonly isOutside: boolean;
}

/** A parsed module. */
export interface ModuleCode {
  readonly url: string;
  /** JavaScript of the same length and lines as the source. */
  readonly text: string;
  readonly program: Program;
  readonly units: readonly CodeUnit[];
  /** Imported functions by local name: specifier of the module and name there. */
  readonly imports: ReadonlyMap<string, { readonly from: string; readonly name: string }>;
  /** What the module imports or re-exports, in order. */
  readonly specifiers: readonly string[];
}

interface OpenUnit extends CodeUnit {
  readonly calls: CallSite[];
  readonly names: Map<string, AnyNode | null>;
  usesThis: boolean;
}

/** Reads and parses the module at a file URL. Throws SyntaxError naming file and place. */
export function readModule(url: string): ModuleCode {
  const file = fileURLToPath(url);
  const source = readFileSync(file, "utf8");
  return parseModule(url, /\.m?ts$/.test(file) ? withoutTypes(source) : source);
}

/** Node warns that this is experimental, once, to people who can do nothing about it. */
function withoutTypes(source: string): string {
  const emitWarning = Object.getOwnPropertyDescriptor(process, "emitWarning");
  process.emitWarning = () => undefined;
  try {
    return stripTypeScriptTypes(source);
  } finally {
    if (emitWarning !== undefined) Object.defineProperty(process, "emitWarning", emitWarning);
  }
}

/** As `readModule`, of a text without types. */
export function parseModule(url: string, text: string): ModuleCode {
  const program = parse(text, { ecmaVersion: "latest", sourceType: "module", locations: true });
  return new Reader(url, text, program).module;
}

class Reader {
  readonly module: ModuleCode;
  readonly #units: OpenUnit[] = [];
  readonly #imports = new Map<string, { from: string; name: string }>();
  readonly #specifiers: string[] = [];

  constructor(url: string, text: string, program: Program) {
    const [units, imports, specifiers] = [this.#units, this.#imports, this.#specifiers];
    this.module = { url, text, program, units, imports, specifiers };
    const top = this.#open({
      name: "<module>",
      kind: "module",
      className: "",
      node: null,
      parent: null,
      context: null,
    });
    for (const statement of program.body)
      this.#visit(statement, { unit: top, className: "", isOutside: false }, program);
  }

  #open(unit: Omit<OpenUnit, "module" | "calls" | "names" | "usesThis">): OpenUnit {
    const opened = { ...unit, module: this.module, calls: [], names: new Map(), usesThis: false };
    this.#units.push(opened);
    return opened;
  }

  #visit(node: AnyNode, at: Place, context: AnyNode): void {
    this.#noteImports(node);
    let place = at;
    if (node.type === "ClassDeclaration" || node.type === "ClassExpression") {
      place = { ...at, className: node.id?.name ?? "", isOutside: at.isOutside };
    } else if (isFunction(node)) {
      place = this.#enter(node, at, context);
    } else if (node.type === "PropertyDefinition") place = { ...at, isOutside: true };
    if (node.type === "VariableDeclarator" && node.id.type === "Identifier")
      place.unit.names.set(node.id.name, node.init ?? null);
    if (node.type === "ThisExpression" || node.type === "Super") noteThis(place.unit);
    if (node.type === "Identifier" && node.name === "arguments") noteThis(place.unit);
    if (node.type === "CallExpression" || node.type === "NewExpression")
      place.unit.calls.push({ node, isOutside: place.isOutside });
    for (const child of children(node)) {
      const isDefault = isFunction(node) && node.params.some((each) => each === child);
      this.#visit(child, isDefault ? { ...place, isOutside: true } : place, node);
    }
  }

  #enter(node: FunctionNode, { unit, className }: Place, context: AnyNode): Place {
    const inner = this.#open({ ...naming(node, context), className, node, parent: unit, context });
    for (const parameter of node.params)
      for (const name of boundNames(parameter)) inner.names.set(name, null);
    return { unit: inner, className, isOutside: false };
  }

  #noteImports(node: AnyNode): void {
    if (!("source" in node) || node.source?.type !== "Literal" || node.type === "ImportExpression") return;
    const from = String(node.source.value);
    this.#specifiers.push(from);
    if (node.type !== "ImportDeclaration") return;
    for (const each of node.specifiers) {
      if (each.type !== "ImportSpecifier") continue;
      const name = each.imported.type === "Identifier" ? each.imported.name : String(each.imported.value);
      this.#imports.set(each.local.name, { from, name });
    }
  }
}

interface Place {
  readonly unit: OpenUnit;
  readonly className: string;
  readonly isOutside: boolean;
}

/** An arrow has the `this` of the function around it. */
function noteThis(unit: OpenUnit): void {
  unit.usesThis = true;
}

function isFunction(node: AnyNode): node is FunctionNode {
  return (
    node.type === "FunctionDeclaration" ||
    node.type === "FunctionExpression" ||
    node.type === "ArrowFunctionExpression"
  );
}

function naming(node: FunctionNode, context: AnyNode): Pick<CodeUnit, "name" | "kind"> {
  const ownKind = node.type === "ArrowFunctionExpression" ? "arrow" : "function";
  if (context.type === "MethodDefinition") {
    const name = memberName(context.key);
    if (context.kind === "constructor") return { name, kind: "constructor" };
    return { name, kind: context.kind === "method" ? "method" : "accessor" };
  }
  if (context.type === "Property" && context.value === node) {
    const name = memberName(context.key);
    if (context.kind !== "init") return { name, kind: "accessor" };
    return { name, kind: context.method ? "method" : ownKind };
  }
  if (context.type === "VariableDeclarator" && context.id.type === "Identifier")
    return { name: context.id.name, kind: ownKind };
  return { name: node.id?.name ?? "", kind: ownKind };
}

/** The name of a member as it is written; "" when it is computed. */
export function memberName(key: AnyNode): string {
  if (key.type === "PrivateIdentifier") return `#${key.name}`;
  if (key.type === "Identifier") return key.name;
  return key.type === "Literal" ? String(key.value) : "";
}

function boundNames(pattern: AnyNode): string[] {
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
