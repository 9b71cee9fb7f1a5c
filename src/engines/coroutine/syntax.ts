/** A module's functions and the calls in each, read off its syntax: what colouring and rewriting work on. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parse } from "acorn";
import type {
  AnyNode,
  CallExpression,
  MemberExpression,
  NewExpression,
  Program,
  TaggedTemplateExpression,
} from "acorn";
import { DEFAULT_EXPORT, ModuleBindings } from "./bindings.ts";
import type { ForeignName } from "./bindings.ts";
import { boundNames, children, isFunction, keyName, propertyName } from "./nodes.ts";
import type { FunctionNode } from "./nodes.ts";

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
  /** Functions and members that are handed to somebody instead of being called. */
  readonly handed: readonly HandedSite[];
  /** In a module with raw accesses: every `array[index]`. */
  readonly elements: readonly ElementSite[];
  /** Variables and parameters of its own; null when what a variable is set to is not known. */
  readonly names: ReadonlyMap<string, AnyNode | null>;
  /** Functions written directly into it, by the name under which its code calls them. */
  readonly functions: ReadonlyMap<string, CodeUnit>;
  /** Mentions `this`, `super`, `arguments` or `new.target`. */
  readonly usesThis: boolean;
}

/** A call, and whether it stands where a function's own code cannot wait: a parameter's default, a field of a class. */
export interface CallSite {
  readonly node: CallExpression | NewExpression | TaggedTemplateExpression;
  readonly isOutside: boolean;
  /** In the middle of `a?.b().c`: what follows is left out together with the call. */
  readonly isInChain: boolean;
}

/** A name or a member that stands where its value is passed on, to a call or to a variable. */
export interface HandedSite {
  readonly node: AnyNode;
  /** The call that it is an argument of, null when it is set or returned. */
  readonly to: CallExpression | NewExpression | null;
}

/** An element of what may be a shared array, and whether it stands where a function's own code cannot wait. */
export interface ElementSite {
  readonly node: MemberExpression;
  readonly isOutside: boolean;
}

/** A parsed module. */
export interface ModuleCode {
  readonly url: string;
  /** JavaScript of the same length and lines as the source. */
  readonly text: string;
  readonly program: Program;
  readonly units: readonly CodeUnit[];
  /** The unit of each function. */
  readonly unitOf: ReadonlyMap<AnyNode, CodeUnit>;
  /** Imports by local name; the name is "*" for a whole module. */
  readonly imports: ReadonlyMap<string, ForeignName>;
  /** Exports by exported name: a local name, or what is passed on from elsewhere. */
  readonly exports: ReadonlyMap<string, string | ForeignName>;
  /** Modules that are passed on as a whole. */
  readonly stars: readonly string[];
  /** What the module imports or re-exports, in order. */
  readonly specifiers: readonly string[];
  /** Whether Atomics and elements of arrays are shared accesses in it: code of a user. */
  readonly isRaw: boolean;
  /** Offsets of `=>`, ascending. */
  readonly arrows: readonly number[];
}

interface OpenUnit extends CodeUnit {
  readonly parent: OpenUnit | null;
  readonly calls: CallSite[];
  readonly handed: HandedSite[];
  readonly elements: ElementSite[];
  readonly names: Map<string, AnyNode | null>;
  readonly functions: Map<string, CodeUnit>;
  usesThis: boolean;
}

/** Reads and parses the module at a file URL. Throws SyntaxError naming file and place. */
export function readModule(url: string, isRaw = false): ModuleCode {
  const file = fileURLToPath(url);
  const source = readFileSync(file, "utf8");
  try {
    return parseModule(url, /\.m?ts$/.test(file) ? withoutTypes(source) : source, isRaw);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const line = /^:(\d+)/.exec(error.stack ?? "")?.[1] ?? /\((\d+):\d+\)$/.exec(error.message)?.[1] ?? "1";
    throw new SyntaxError(`${file}:${line}: ${error.message}`, { cause: error });
  }
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
export function parseModule(url: string, text: string, isRaw = false): ModuleCode {
  const arrows: number[] = [];
  const program = parse(text, {
    ecmaVersion: "latest",
    sourceType: "module",
    locations: true,
    allowHashBang: true,
    onToken: ({ type, start }) => {
      if (type.label === "=>") arrows.push(start);
    },
  });
  return new Reader({ url, text, program, isRaw, arrows }).module;
}

class Reader {
  readonly module: ModuleCode;
  readonly #units: OpenUnit[] = [];
  readonly #unitOf = new Map<AnyNode, CodeUnit>();
  readonly #bindings = new ModuleBindings();

  constructor(source: Pick<ModuleCode, "url" | "text" | "program" | "isRaw" | "arrows">) {
    const { imports, exports, stars, specifiers } = this.#bindings;
    const [units, unitOf] = [this.#units, this.#unitOf];
    this.module = { ...source, units, unitOf, imports, exports, stars, specifiers };
    const top = this.#open({
      name: "<module>",
      kind: "module",
      className: "",
      node: null,
      parent: null,
      context: null,
    });
    const place = { unit: top, className: "", isOutside: false, isInChain: false };
    for (const statement of source.program.body) this.#visit(statement, place, source.program);
  }

  #open(unit: Pick<OpenUnit, "name" | "kind" | "className" | "node" | "parent" | "context">): OpenUnit {
    const lists = { calls: [], handed: [], elements: [], names: new Map(), functions: new Map() };
    const opened: OpenUnit = { ...unit, module: this.module, ...lists, usesThis: false };
    this.#units.push(opened);
    if (unit.node !== null) this.#unitOf.set(unit.node, opened);
    return opened;
  }

  #visit(node: AnyNode, at: Place, context: AnyNode): void {
    this.#bindings.note(node);
    const place = isFunction(node) ? this.#enter(node, at, context) : placeWithin(node, at);
    noteNames(node, place.unit);
    noteThis(node, place.unit);
    if (isCall(node)) place.unit.calls.push({ node, isOutside: place.isOutside, isInChain: at.isInChain });
    noteHanded(node, place.unit);
    if (this.module.isRaw && node.type === "MemberExpression" && node.computed)
      place.unit.elements.push({ node, isOutside: place.isOutside });
    for (const child of children(node)) {
      const isOutside = place.isOutside || isNotOwnCode(node, child);
      this.#visit(child, { ...place, isOutside, isInChain: isInChain(node, child) }, node);
    }
  }

  #enter(node: FunctionNode, { unit, className }: Place, context: AnyNode): Place {
    const inner = this.#open({ ...naming(node, context), className, node, parent: unit, context });
    for (const parameter of node.params)
      for (const name of boundNames(parameter)) inner.names.set(name, null);
    if (isCalledByName(inner)) {
      unit.functions.set(inner.name, inner);
      // Inside, a function expression is also known by a name that nobody else sees.
      if (node.type !== "ArrowFunctionExpression" && node.id) inner.functions.set(node.id.name, inner);
    }
    return { unit: inner, className, isOutside: false, isInChain: false };
  }
}

interface Place {
  readonly unit: OpenUnit;
  readonly className: string;
  readonly isOutside: boolean;
  readonly isInChain: boolean;
}

function placeWithin(node: AnyNode, at: Place): Place {
  if (node.type === "ClassDeclaration" || node.type === "ClassExpression")
    return { ...at, className: node.id?.name ?? "" };
  if (node.type === "PropertyDefinition" || node.type === "StaticBlock") return { ...at, isOutside: true };
  return at;
}

/** A parameter's default is evaluated before the function's own code. */
function isNotOwnCode(node: AnyNode, child: AnyNode): boolean {
  return isFunction(node) && node.params.some((each) => each === child);
}

/** Whether a child is part of an optional chain that goes on behind it and may have been cut off before it. */
function isInChain(node: AnyNode, child: AnyNode): boolean {
  return (
    (node.type === "MemberExpression" && child === node.object) ||
    (node.type === "CallExpression" && child === node.callee)
  );
}

function isCall(node: AnyNode): node is CallSite["node"] {
  return (
    node.type === "CallExpression" ||
    node.type === "NewExpression" ||
    node.type === "TaggedTemplateExpression"
  );
}

/** An arrow function has the `this` of the function around it, and so have those around the arrow. */
function noteThis(node: AnyNode, unit: OpenUnit): void {
  const isThis =
    node.type === "ThisExpression" ||
    node.type === "Super" ||
    node.type === "MetaProperty" ||
    (node.type === "Identifier" && node.name === "arguments");
  if (!isThis) return;
  for (let user: OpenUnit | null = unit; user !== null; user = user.kind === "arrow" ? user.parent : null)
    user.usesThis = true;
}

function noteNames(node: AnyNode, unit: OpenUnit): void {
  if (node.type === "VariableDeclarator") {
    const isKnown = node.id.type === "Identifier" && node.init;
    for (const name of boundNames(node.id)) unit.names.set(name, isKnown ? (node.init ?? null) : null);
  }
  if (node.type === "CatchClause" && node.param)
    for (const name of boundNames(node.param)) unit.names.set(name, null);
  if (node.type === "ClassDeclaration" && node.id) unit.names.set(node.id.name, node);
}

function noteHanded(node: AnyNode, unit: OpenUnit): void {
  const hand = (given: AnyNode | null | undefined, to: HandedSite["to"]): void => {
    if (given?.type === "Identifier" || given?.type === "MemberExpression")
      unit.handed.push({ node: given, to });
  };
  if (node.type === "CallExpression" || node.type === "NewExpression")
    for (const each of node.arguments) hand(each, node);
  if (node.type === "AssignmentExpression") hand(node.right, null);
}

/** Whether the code around a function calls it by a name, not as a member of something. */
function isCalledByName({ kind, context, name }: CodeUnit): boolean {
  if (name === "" || (kind !== "function" && kind !== "arrow")) return false;
  return context === null || !isMemberContext(context);
}

/** Whether what a function is written into makes it a member. */
export function isMemberContext({ type }: AnyNode): boolean {
  return ["Property", "PropertyDefinition", "AssignmentExpression", "MethodDefinition"].includes(type);
}

function naming(node: FunctionNode, context: AnyNode): Pick<CodeUnit, "name" | "kind"> {
  const ownKind = node.type === "ArrowFunctionExpression" ? "arrow" : "function";
  if (context.type === "MethodDefinition") {
    const name = keyName(context);
    if (context.kind === "constructor") return { name, kind: "constructor" };
    return { name, kind: context.kind === "method" ? "method" : "accessor" };
  }
  if (context.type === "Property" && context.value === node) {
    const name = keyName(context);
    if (context.kind !== "init") return { name, kind: "accessor" };
    return { name, kind: context.method ? "method" : ownKind };
  }
  if (context.type === "PropertyDefinition" && context.value === node)
    return { name: keyName(context), kind: ownKind };
  if (context.type === "AssignmentExpression" && context.left.type === "MemberExpression")
    return { name: propertyName(context.left) ?? "", kind: ownKind };
  if (context.type === "VariableDeclarator" && context.id.type === "Identifier")
    return { name: context.id.name, kind: ownKind };
  if (context.type === "ExportDefaultDeclaration")
    return { name: ("id" in node ? node.id?.name : undefined) ?? DEFAULT_EXPORT, kind: ownKind };
  return { name: ("id" in node ? node.id?.name : undefined) ?? "", kind: ownKind };
}
