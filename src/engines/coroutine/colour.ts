/**
 * Which functions can reach a shared access: only those become coroutines, everything else stays as it is. Calls are
 * resolved without types, so a method name is coloured everywhere or nowhere.
 */
import type { AnyNode } from "acorn";
import { ACCESSORS } from "./accessors.ts";
import type { Accessor } from "./accessors.ts";
import { refusalsOfAtomics } from "./atomics-names.ts";
import { isBuiltinMethod } from "./builtins.ts";
import { Names, VALUE, namesOf, ownName } from "./names.ts";
import type { Origin } from "./names.ts";
import { propertyName } from "./nodes.ts";
import { rawCallOf } from "./raw-accesses.ts";
import type { RawCall } from "./raw-accesses.ts";
import { isUncertain, reasonAgainst, refusalsOf } from "./refusals.ts";
import type { Refusal } from "./refusals.ts";
import type { CallSite, CodeUnit, ModuleCode } from "./syntax.ts";

/** What the rewriter must do with a call. */
export type Callee =
  | { readonly kind: "accessor"; readonly name: string; readonly accessor: Accessor }
  /** `Atomics`, in a user's module. */
  | { readonly kind: "raw"; readonly raw: RawCall }
  | { readonly kind: "coroutine" }
  /** Whether it is a coroutine is seen when it is called: a function held in a variable, say. */
  | { readonly kind: "value" }
  | { readonly kind: "plain" };

const PLAIN: Callee = { kind: "plain" };

/** The colours of a set of modules. */
export class Colouring {
  readonly modules: ReadonlyMap<string, ModuleCode>;
  readonly #names: Names;
  readonly #coloured = new Set<CodeUnit>();
  readonly #colouredNames = new Set<string>();

  /** Colours modules by URL. `resolve` gives the URL of an import, or undefined for one outside the set. */
  constructor(
    modules: ReadonlyMap<string, ModuleCode>,
    resolve: (specifier: string, from: string) => string | undefined,
  ) {
    this.modules = modules;
    this.#names = new Names(modules, resolve);
    while (this.#spread());
  }

  /** Whether a function becomes a coroutine. */
  isColoured(unit: CodeUnit): boolean {
    return this.#coloured.has(unit);
  }

  /** What a call in a function calls. */
  callee({ node }: Pick<CallSite, "node">, unit: CodeUnit): Callee {
    if (node.type === "CallExpression" && unit.module.isRaw) {
      const raw = rawCallOf(node, (name) => this.#names.isForeign(name, "umbra", "spawn", unit));
      if (raw !== undefined && (!raw.name.startsWith("Atomics.") || this.#names.isGlobal("Atomics", unit)))
        return { kind: "raw", raw };
    } else if (node.type === "CallExpression" && node.callee.type === "MemberExpression") {
      const name = propertyName(node.callee) ?? "";
      const accessor = ACCESSORS.get(name);
      if (accessor !== undefined) return { kind: "accessor", name, accessor };
    }
    const called = this.#names.called(node, unit);
    if (called === undefined) return PLAIN;
    if (called === VALUE) return { kind: "value" };
    if (!this.#colouredNames.has(called)) return PLAIN;
    // A user's queue has a `push` as every array has one: which of them it is, only the result can tell.
    return { kind: unit.module.isRaw && isBuiltin(called) ? "value" : "coroutine" };
  }

  /** Whose function an expression stands for. */
  origin(node: AnyNode, unit: CodeUnit): Origin {
    return this.#names.origin(node, unit);
  }

  /** Whether a name or a member stands for a coroutine that it does not call. */
  meansCoroutine(node: AnyNode, unit: CodeUnit): boolean {
    const name = this.#names.meant(node, unit);
    return name !== undefined && this.#colouredNames.has(name);
  }

  /** Everything that cannot be translated, in the order of the modules. */
  refusals(): Refusal[] {
    const isGlobal = (name: string, unit: CodeUnit): boolean => this.#names.isGlobal(name, unit);
    return [...this.modules.values()].flatMap((module) => {
      const refusals = module.units.flatMap((unit) => refusalsOf(unit, this));
      return module.isRaw ? refusals.concat(refusalsOfAtomics(module, isGlobal)) : refusals;
    });
  }

  /** One round; whether anything was coloured in it. */
  #spread(): boolean {
    let spreads = false;
    for (const { units } of this.modules.values()) {
      for (const unit of units) {
        if (this.#coloured.has(unit) || isAccessorItself(unit)) continue;
        const own = ownName(unit);
        if (!(own !== undefined && this.#colouredNames.has(own)) && !this.#reachesAccess(unit)) continue;
        this.#coloured.add(unit);
        for (const name of namesOf(unit)) this.#colouredNames.add(name);
        spreads = true;
      }
    }
    return spreads;
  }

  #reachesAccess(unit: CodeUnit): boolean {
    const calls = unit.calls.some((call) => {
      const callee = this.callee(call, unit);
      return !call.isOutside && callee.kind !== "plain" && !isUncertain(callee);
    });
    if (calls) return true;
    // Whether it is an access is seen when it happens: where nobody can wait, that it is none is checked then.
    const isPossible =
      unit.elements.some(({ isOutside }) => !isOutside) ||
      unit.calls.some((call) => !call.isOutside && isUncertain(this.callee(call, unit)));
    return isPossible && reasonAgainst(unit, this) === undefined;
  }
}

function isAccessorItself({ kind, name, module }: CodeUnit): boolean {
  return !module.isRaw && kind === "method" && ACCESSORS.has(name);
}

function isBuiltin(called: string): boolean {
  return called.startsWith("method ") && isBuiltinMethod(called.slice("method ".length));
}
