/**
 * What a name in a module means. Calls are resolved without types, by name alone: a function by the module and the
 * functions around it, a private method by its module, any other method by its name wherever it is.
 */
import type { AnyNode, CallExpression, NewExpression, TaggedTemplateExpression } from "acorn";
import { DEFAULT_EXPORT } from "./bindings.ts";
import { isFunction, propertyName } from "./nodes.ts";
import { isMemberContext } from "./syntax.ts";
import type { CodeUnit, ModuleCode } from "./syntax.ts";

/** What is called is only known when the program runs. */
export const VALUE = "a function held in a variable";

const ALIASES_MAX = 16;

/**
 * Whose function is called: the program's own, one of JavaScript's, a package's; "unknown" when that is seen when the
 * program runs.
 */
export type Origin = "own" | "builtin" | "library" | "unknown";

/** The names of a set of modules. */
export class Names {
  readonly #modules: ReadonlyMap<string, ModuleCode>;
  readonly #resolve: (specifier: string, from: string) => string | undefined;
  /** Names of all functions that are members of something. */
  #methods: ReadonlySet<string> | undefined;

  /** `resolve` gives the URL of an import, or undefined for one outside the set. */
  constructor(
    modules: ReadonlyMap<string, ModuleCode>,
    resolve: (specifier: string, from: string) => string | undefined,
  ) {
    this.#modules = modules;
    this.#resolve = resolve;
  }

  /** What a call calls: a name as `ownName` gives it, `VALUE`, or undefined for what is not of the set. */
  called(
    node: CallExpression | NewExpression | TaggedTemplateExpression,
    unit: CodeUnit,
  ): string | undefined {
    const callee = node.type === "TaggedTemplateExpression" ? node.tag : node.callee;
    if (node.type === "NewExpression")
      return callee.type === "Identifier" ? `constructor ${callee.name}` : undefined;
    if (callee.type === "Super") return undefined;
    return this.meant(callee, unit);
  }

  /** What an expression means if it is called. */
  meant(node: AnyNode, unit: CodeUnit): string | undefined {
    if (node.type === "Identifier") return this.#function(node.name, unit, ALIASES_MAX);
    if (isFunction(node)) {
      const written = unit.module.unitOf.get(node);
      return written === undefined ? VALUE : nameOnTheSpot(written);
    }
    if (node.type !== "MemberExpression") return VALUE;
    const name = propertyName(node);
    if (name === undefined) return VALUE;
    // What JavaScript's own functions hang on: nothing of that name is ever the model's.
    if (
      node.object.type === "Identifier" &&
      node.object.name in globalThis &&
      this.isGlobal(node.object.name, unit)
    )
      return undefined;
    const foreign = node.object.type === "Identifier" ? this.#namespace(node.object.name, unit) : undefined;
    if (foreign !== undefined) return this.#exported(this.#resolve(foreign, unit.module.url), name);
    return name.startsWith("#") ? privateName(unit, name) : `method ${name}`;
  }

  /** Whether a name means what it means outside of all functions and modules. */
  isGlobal(name: string, unit: CodeUnit): boolean {
    for (let scope: CodeUnit | null = unit; scope !== null; scope = scope.parent)
      if (scope.functions.has(name) || scope.names.has(name)) return false;
    return !unit.module.imports.has(name);
  }

  /** Whose function an expression stands for. */
  origin(node: AnyNode, unit: CodeUnit, aliases = ALIASES_MAX): Origin {
    const name = node.type === "MemberExpression" ? propertyName(node) : undefined;
    if (name !== undefined && (name.startsWith("#") || this.#hasMethod(name))) return "own";
    const root = rootOf(node);
    if (root.type !== "Identifier") return isFunction(root) ? "own" : "unknown";
    for (let scope: CodeUnit | null = unit; scope !== null; scope = scope.parent) {
      if (scope.functions.has(root.name)) return "own";
      const set = scope.names.get(root.name);
      if (set === undefined) continue;
      if (set?.type === "ClassDeclaration" || set?.type === "ClassExpression") return "own";
      const isAlias = set?.type === "Identifier" || set?.type === "MemberExpression";
      return isAlias && aliases > 0 ? this.origin(set, scope, aliases - 1) : "unknown";
    }
    const from = unit.module.imports.get(root.name)?.from;
    if (from === undefined) return "builtin";
    const isOwn = from === "umbra" || this.#modules.has(this.#resolve(from, unit.module.url) ?? "");
    return isOwn ? "own" : "library";
  }

  #hasMethod(name: string): boolean {
    this.#methods ??= new Set(
      [...this.#modules.values()]
        .flatMap(({ units }) => units)
        .filter(({ kind, context }) => kind === "method" || (context !== null && isMemberContext(context)))
        .map((unit) => unit.name),
    );
    return this.#methods.has(name);
  }

  /** Whether a name is what another module exports under a name. */
  isForeign(name: string, from: string, exported: string, unit: CodeUnit): boolean {
    const imported = unit.module.imports.get(name);
    if (imported?.from !== from || imported.name !== exported) return false;
    for (let scope: CodeUnit | null = unit; scope !== null; scope = scope.parent)
      if (scope.functions.has(name) || scope.names.has(name)) return false;
    return true;
  }

  #function(name: string, unit: CodeUnit, aliases: number): string | undefined {
    for (let scope: CodeUnit | null = unit; scope !== null; scope = scope.parent) {
      const inner = scope.functions.get(name);
      if (inner !== undefined) return ownName(inner);
      const set = scope.names.get(name);
      if (set === undefined) continue;
      if (set?.type === "ClassDeclaration" || set?.type === "ClassExpression") return undefined;
      if (set?.type !== "Identifier" || set.name === name || aliases === 0) return VALUE;
      return this.#function(set.name, scope, aliases - 1);
    }
    const imported = unit.module.imports.get(name);
    if (imported === undefined) return undefined;
    return this.#exported(this.#resolve(imported.from, unit.module.url), imported.name);
  }

  #namespace(name: string, unit: CodeUnit): string | undefined {
    const imported = unit.module.imports.get(name);
    if (imported?.name !== "*") return undefined;
    for (let scope: CodeUnit | null = unit; scope !== null; scope = scope.parent)
      if (scope.names.has(name)) return undefined;
    return imported.from;
  }

  /** The function that a module exports under a name, be it its own or one that it passes on. */
  #exported(url: string | undefined, name: string, seen = new Set<string>()): string | undefined {
    const module = url === undefined ? undefined : this.#modules.get(url);
    if (module === undefined || seen.has(module.url)) return undefined;
    seen.add(module.url);
    const own = module.exports.get(name);
    const [top] = module.units;
    if (typeof own === "string") return top === undefined ? undefined : this.#function(own, top, ALIASES_MAX);
    if (own !== undefined) return this.#exported(this.#resolve(own.from, module.url), own.name, seen);
    if (name === DEFAULT_EXPORT) return undefined;
    for (const from of module.stars) {
      const found = this.#exported(this.#resolve(from, module.url), name, seen);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** What the members of an expression are members of. */
function rootOf(node: AnyNode): AnyNode {
  return node.type === "MemberExpression" ? rootOf(node.object) : node;
}

/** By what name calls find a function; undefined if by none. */
export function ownName(unit: CodeUnit): string | undefined {
  switch (unit.kind) {
    case "method":
      return memberOwnName(unit);
    case "constructor":
      return `constructor ${unit.className}`;
    case "accessor":
    case "module":
      return undefined;
    case "function":
    case "arrow":
      break;
  }
  if (unit.context !== null && isMemberContext(unit.context)) return memberOwnName(unit);
  return unit.name === "" ? undefined : `function ${unit.module.url} ${pathOf(unit)}`;
}

function memberOwnName(unit: CodeUnit): string | undefined {
  if (unit.name === "") return undefined;
  return unit.name.startsWith("#") ? privateName(unit, unit.name) : `method ${unit.name}`;
}

/** `(() => …)()`: called where it is written, by nobody else. */
function nameOnTheSpot(unit: CodeUnit): string {
  return `function ${unit.module.url} at ${String(unit.node?.start)}`;
}

/** All names by which calls find a function. */
export function namesOf(unit: CodeUnit): readonly string[] {
  const own = ownName(unit);
  const onTheSpot = unit.context?.type === "CallExpression" && unit.context.callee === unit.node;
  return [...(own === undefined ? [] : [own]), ...(onTheSpot ? [nameOnTheSpot(unit)] : [])];
}

function pathOf(unit: CodeUnit): string {
  return unit.parent === null || unit.parent.kind === "module"
    ? unit.name
    : `${pathOf(unit.parent)}/${unit.name}`;
}

/** Private names are their class's; one class within another may use those of the outer. */
function privateName({ module, className }: CodeUnit, name: string): string {
  const isOwn = module.units.some((each) => each.className === className && each.name === name);
  const outer = isOwn ? undefined : module.units.find((each) => each.name === name);
  return `private ${module.url} ${outer?.className ?? className} ${name}`;
}
