/**
 * Which functions can reach a shared access: only those become coroutines, everything else stays as it is. Calls are
 * resolved without types, so a method name is coloured everywhere or nowhere.
 */
import type { AnyNode, CallExpression, NewExpression } from "acorn";
import { ACCESSORS } from "./accessors.ts";
import type { Accessor } from "./accessors.ts";
import { memberName } from "./syntax.ts";
import type { CallSite, CodeUnit, ModuleCode } from "./syntax.ts";

/** What the rewriter must do with a call. */
export type Callee =
  | { readonly kind: "accessor"; readonly name: string; readonly accessor: Accessor }
  | { readonly kind: "coroutine" }
  /** A function held in a variable: whether it is a coroutine is seen when it is called. */
  | { readonly kind: "value" }
  | { readonly kind: "plain" };

/** Why a module cannot be translated. */
export interface Refusal {
  readonly url: string;
  /** From 1. */
  readonly line: number;
  readonly reason: string;
}

/** Methods of JavaScript's own objects: a coroutine of that name would be mistaken for one of them. */
const BUILTIN_METHODS: ReadonlySet<string> = new Set(
  [Array, Map, Set, WeakMap, String, Int32Array, Promise, Function, RegExp, Number, function* () {}].flatMap(
    (type) => methodNames(type.prototype),
  ),
);

/** What JavaScript's own functions hang on: nothing of that name is ever the model's. */
const GLOBAL_OBJECTS: ReadonlySet<string> = new Set([
  "Array",
  "Atomics",
  "JSON",
  "Math",
  "Number",
  "Object",
  "Reflect",
  "String",
  "Symbol",
  "Int32Array",
]);

function methodNames(prototype: unknown): string[] {
  if (typeof prototype !== "object" || prototype === null) return [];
  return [...Object.getOwnPropertyNames(prototype), ...methodNames(Object.getPrototypeOf(prototype))];
}

/** Functions that take a function and know what to do with a coroutine. */
const TAKES_COROUTINES: ReadonlySet<string> = new Set(["defineScenario", "spawnThread", "spawn", "explore"]);

/** The colours of a set of modules. */
export class Colouring {
  readonly modules: ReadonlyMap<string, ModuleCode>;
  readonly #resolve: (specifier: string, from: string) => string | undefined;
  readonly #coloured = new Set<CodeUnit>();
  readonly #names = new Set<string>();

  /** Colours modules by URL. `resolve` gives the URL of an import, or undefined for one outside the set. */
  constructor(
    modules: ReadonlyMap<string, ModuleCode>,
    resolve: (specifier: string, from: string) => string | undefined,
  ) {
    this.modules = modules;
    this.#resolve = resolve;
    while (this.#spread());
  }

  /** Whether a function becomes a coroutine. */
  isColoured(unit: CodeUnit): boolean {
    return this.#coloured.has(unit);
  }

  /** What a call in a function calls. */
  callee({ node }: CallSite, unit: CodeUnit): Callee {
    const { callee } = node;
    if (callee.type === "MemberExpression" && !callee.computed) {
      const name = memberName(callee.property);
      const accessor = ACCESSORS.get(name);
      if (accessor !== undefined) return { kind: "accessor", name, accessor };
    }
    const name = this.#nameOf(node, unit);
    if (name === VALUE) return { kind: "value" };
    return { kind: name !== undefined && this.#names.has(name) ? "coroutine" : "plain" };
  }

  /** Everything that cannot be translated, in the order of the modules. */
  refusals(): Refusal[] {
    return [...this.modules.values()].flatMap(({ units }) => units.flatMap((unit) => this.#refusalsOf(unit)));
  }

  /** One round; whether anything was coloured in it. */
  #spread(): boolean {
    let spreads = false;
    for (const { units } of this.modules.values()) {
      for (const unit of units) {
        if (this.#coloured.has(unit) || isAccessorItself(unit)) continue;
        const own = ownName(unit);
        if (!(own !== undefined && this.#names.has(own)) && !this.#reachesAccess(unit)) continue;
        this.#coloured.add(unit);
        if (own !== undefined) this.#names.add(own);
        spreads = true;
      }
    }
    return spreads;
  }

  #reachesAccess(unit: CodeUnit): boolean {
    return unit.calls.some((call) => this.callee(call, unit).kind !== "plain");
  }

  #nameOf(node: CallExpression | NewExpression, unit: CodeUnit): string | undefined {
    const { callee } = node;
    if (callee.type === "MemberExpression") {
      if (callee.computed || (callee.object.type === "Identifier" && GLOBAL_OBJECTS.has(callee.object.name)))
        return undefined;
      const name = memberName(callee.property);
      return name.startsWith("#") ? privateName(unit, name) : `method ${name}`;
    }
    if (callee.type !== "Identifier") return undefined;
    if (node.type === "NewExpression") return `constructor ${callee.name}`;
    return this.#functionName(callee.name, unit);
  }

  #functionName(name: string, unit: CodeUnit): string | undefined {
    for (let scope: CodeUnit | null = unit; scope !== null; scope = scope.parent) {
      const inner = scope.module.units.find(
        (each) => each.parent === scope && each.name === name && isCallable(each),
      );
      if (inner !== undefined) return ownName(inner);
      const set = scope.names.get(name);
      if (set !== undefined) return set !== null && isElement(set) ? VALUE : undefined;
    }
    const imported = unit.module.imports.get(name);
    if (imported === undefined) return undefined;
    return this.#exported(this.#resolve(imported.from, unit.module.url), imported.name);
  }

  /** The function that a module exports under a name, be it its own or one that it passes on. */
  #exported(url: string | undefined, name: string): string | undefined {
    const module = url === undefined ? undefined : this.modules.get(url);
    if (module === undefined) return undefined;
    const own = module.units.find(
      (each) => each.parent?.kind === "module" && each.name === name && isCallable(each),
    );
    if (own !== undefined) return ownName(own);
    for (const specifier of module.specifiers) {
      const found = this.#exported(this.#resolve(specifier, module.url), name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #refusalsOf(unit: CodeUnit): Refusal[] {
    const found = unit.calls
      .filter((call) => call.isOutside && this.callee(call, unit).kind !== "plain")
      .map(({ node }) =>
        refusal(unit, node, "reaches shared memory in a default value or a field of a class"),
      );
    const reason = this.isColoured(unit) ? reasonAgainst(unit) : undefined;
    if (reason !== undefined) found.push(refusal(unit, unit.node ?? this.#firstReach(unit), reason));
    return found;
  }

  #firstReach(unit: CodeUnit): AnyNode {
    const call = unit.calls.find((each) => this.callee(each, unit).kind !== "plain");
    return call?.node ?? unit.module.program;
  }
}

const VALUE = "a function held in a variable";

function isAccessorItself({ kind, name }: CodeUnit): boolean {
  return kind === "method" && ACCESSORS.has(name);
}

/** By what name calls find a function; undefined if by none. */
function ownName(unit: CodeUnit): string | undefined {
  switch (unit.kind) {
    case "method":
      return unit.name.startsWith("#") ? privateName(unit, unit.name) : `method ${unit.name}`;
    case "constructor":
      return `constructor ${unit.className}`;
    case "accessor":
    case "module":
      return undefined;
    case "function":
    case "arrow":
      break;
  }
  if (unit.context?.type === "Property") return `method ${unit.name}`;
  return unit.name === "" ? undefined : `function ${unit.module.url} ${pathOf(unit)}`;
}

function pathOf(unit: CodeUnit): string {
  return unit.parent === null || unit.parent.kind === "module"
    ? unit.name
    : `${pathOf(unit.parent)}/${unit.name}`;
}

function privateName({ module, className }: CodeUnit, name: string): string {
  return `private ${module.url} ${className} ${name}`;
}

function isCallable({ kind, context }: CodeUnit): boolean {
  return (kind === "function" || kind === "arrow") && context?.type !== "Property";
}

/** `list[index]`: what is called is chosen when the program runs. */
function isElement(node: AnyNode): boolean {
  return node.type === "MemberExpression" && node.computed;
}

function reasonAgainst(unit: CodeUnit): string | undefined {
  const { kind, node, context, name } = unit;
  if (kind === "module") return "reaches shared memory while the module is loaded";
  if (kind === "accessor") return `the getter or setter ${name} reaches shared memory: make it a method`;
  if (kind === "constructor")
    return `the constructor of ${unit.className} reaches shared memory: do it in a method`;
  if (node === null) return undefined;
  if ("async" in node && node.async) return `the async function ${name} reaches shared memory`;
  if ("generator" in node && node.generator) return `the generator ${name} reaches shared memory`;
  if (kind === "method" && BUILTIN_METHODS.has(name))
    return `the method ${name} reaches shared memory, but is called as one of JavaScript's own: give it another name`;
  if (kind === "arrow" && unit.usesThis) return "an arrow function that uses `this` reaches shared memory";
  if (context?.type === "CallExpression" && !takesCoroutines(context))
    return "a callback reaches shared memory: whoever calls it cannot wait for it";
  return undefined;
}

function takesCoroutines({ callee }: CallExpression): boolean {
  const name =
    callee.type === "MemberExpression"
      ? memberName(callee.property)
      : callee.type === "Identifier"
        ? callee.name
        : "";
  return TAKES_COROUTINES.has(name);
}

function refusal({ module }: CodeUnit, node: AnyNode, reason: string): Refusal {
  return { url: module.url, line: node.loc?.start.line ?? 1, reason };
}
