/**
 * Makes coroutines of coloured functions: a scheduling point before each shared access, `yield*` before each call of
 * another coroutine. Only insertions, none with a line break, so that every line is where it was in the source.
 */
import { MagicString } from "magic-string";
import type { AnyNode, CallExpression, NewExpression } from "acorn";
import { AccessKind } from "./accessors.ts";
import type { Accessor } from "./accessors.ts";
import type { Colouring } from "./colour.ts";
import { children } from "./syntax.ts";
import type { CodeUnit, FunctionNode, ModuleCode } from "./syntax.ts";
import type { SiteTable } from "./sites.ts";

/** Name of the scheduler in rewritten code, and the beginning of those of temporaries. */
const SCHEDULER = "$S";

/** What the rewriter works with. */
export interface RewriteTools {
  readonly colouring: Colouring;
  readonly sites: SiteTable;
  /** URL of the module that exports the scheduler as `SCHEDULER`. */
  readonly schedulerUrl: string;
}

/** JavaScript of a module whose coloured functions are coroutines. The module must be without refusals. */
export function rewrite(module: ModuleCode, tools: RewriteTools): string {
  const text = new MagicString(module.text);
  const coloured = module.units.filter((unit) => tools.colouring.isColoured(unit));
  for (const unit of coloured) new UnitRewriter(unit, text, tools).rewrite();
  if (coloured.length > 0) {
    text.prepend(`import { SCHEDULER as ${SCHEDULER} } from ${JSON.stringify(tools.schedulerUrl)};`);
  }
  return text.toString();
}

/** Giving up a lock to wait, and taking it again, concern two objects. */
function hasSecondObject({ kind }: Accessor): boolean {
  return kind === AccessKind.suspend || kind === AccessKind.relock;
}

class UnitRewriter {
  readonly #unit: CodeUnit;
  readonly #text: MagicString;
  readonly #tools: RewriteTools;
  readonly #calls: ReadonlyMap<AnyNode, CodeUnit["calls"][number]>;
  #temporaries = 0;

  constructor(unit: CodeUnit, text: MagicString, tools: RewriteTools) {
    this.#unit = unit;
    this.#text = text;
    this.#tools = tools;
    this.#calls = new Map(unit.calls.map((call) => [call.node, call]));
  }

  rewrite(): void {
    const { node } = this.#unit;
    if (node === null) return;
    this.#visit(node.body, node, 0);
    this.#makeGenerator();
  }

  #visit(node: AnyNode, parent: AnyNode, depth: number): void {
    const call = this.#calls.get(node);
    let used = depth;
    if (call !== undefined) {
      const callee = this.#tools.colouring.callee(call, this.#unit);
      if (callee.kind === "accessor") used = this.#access(call.node, callee.name, callee.accessor, depth);
      else if (callee.kind === "coroutine") this.#delegate(call.node, parent);
      else if (callee.kind === "value") used = this.#delegateIfCoroutine(call.node, depth);
    }
    if (node.type === "ChainExpression") used = this.#delegateChain(node.expression, depth);
    for (const child of children(node)) if (!this.#isOtherUnit(child)) this.#visit(child, node, used);
  }

  #isOtherUnit(node: AnyNode): boolean {
    return this.#unit.module.units.some((unit) => unit.node === node);
  }

  /** Each of the temporaries of nested calls needs a name of its own; calls side by side can share. */
  #temporary(index: number): string {
    this.#temporaries = Math.max(this.#temporaries, index + 1);
    return `$${String(index)}`;
  }

  /** Appends the scheduling point as one more argument, which is evaluated after the others and ignored. */
  #access(node: CallExpression | NewExpression, name: string, accessor: Accessor, depth: number): number {
    const site = String(this.#site(node, name, accessor));
    const { callee, arguments: given } = node;
    if (callee.type !== "MemberExpression") return depth;
    const end = node.end - 1;
    const separator = given.length === 0 ? "" : ", ";
    if (accessor.address === "receiver") {
      const receiver = this.#keep(callee.object, depth);
      const [first] = hasSecondObject(accessor) ? given : [];
      const other = first === undefined ? "" : `, ${this.#keep(first, depth + 1)}`;
      this.#text.appendLeft(end, `${separator}${SCHEDULER}.on(${site}, ${receiver}${other}) && (yield)`);
      return depth + 2;
    }
    const [first, second] = given;
    if (first === undefined) return depth;
    const address = this.#keep(first, depth);
    if (accessor.kind === AccessKind.wait || accessor.kind === AccessKind.fill) {
      const value = second === undefined ? "0" : this.#keep(second, depth + 1);
      const method = accessor.kind === AccessKind.wait ? "waitAt" : "fillAt";
      this.#text.appendLeft(
        end,
        `${separator}${SCHEDULER}.${method}(${site}, ${address}, ${value}) && (yield)`,
      );
      if (accessor.kind === AccessKind.wait) {
        this.#text.appendRight(callee.object.start, `${SCHEDULER}.nothing(`);
        this.#text.overwrite(callee.object.end, this.#openParenthesis(node), ", ");
      }
      return depth + 2;
    }
    const cell = accessor.address === "byte" ? `${address} >> 2` : address;
    this.#text.appendLeft(end, `${separator}${SCHEDULER}.at(${site}, ${cell}) && (yield)`);
    return depth + 1;
  }

  #openParenthesis(node: CallExpression | NewExpression): number {
    return this.#unit.module.text.indexOf("(", node.callee.end) + 1;
  }

  /** The text that stands for an argument's value behind it: a name as it is, anything else by a temporary. */
  #keep(node: AnyNode, index: number): string {
    if (node.type === "Identifier") return node.name;
    const name = this.#temporary(index);
    this.#text.appendRight(node.start, `(${name} = `);
    this.#text.prependLeft(node.end, ")");
    return name;
  }

  #site(node: AnyNode, name: string, accessor: Accessor): number {
    const { module, className, name: unit } = this.#unit;
    return this.#tools.sites.add({
      file: module.url,
      line: node.loc?.start.line ?? 0,
      column: (node.loc?.start.column ?? 0) + 1,
      within: className === "" ? unit : `${className}.${unit}`,
      name,
      accessor,
    });
  }

  #delegate(node: AnyNode, parent: AnyNode): void {
    if (parent.type === "ChainExpression") return;
    // A parenthesis at the beginning of a line may continue the line before.
    const isStatement = parent.type === "ExpressionStatement";
    this.#text.appendRight(node.start, isStatement ? "yield* " : "(yield* ");
    if (!isStatement) this.#text.prependLeft(node.end, ")");
  }

  #delegateIfCoroutine(node: AnyNode, depth: number): number {
    const name = this.#temporary(depth);
    this.#text.appendRight(node.start, `(${SCHEDULER}.isCoroutine(${name} = `);
    this.#text.prependLeft(node.end, `) ? yield* ${name} : ${name})`);
    return depth + 1;
  }

  /** `object?.method()`: nothing to wait for when there is no object. */
  #delegateChain(node: AnyNode, depth: number): number {
    const call = this.#calls.get(node);
    if (call === undefined || this.#tools.colouring.callee(call, this.#unit).kind !== "coroutine")
      return depth;
    return this.#delegateIfCoroutine(node, depth);
  }

  #makeGenerator(): void {
    const { node, context, kind } = this.#unit;
    if (node === null) return;
    if (kind === "arrow") this.#makeArrowGenerator(node);
    if (kind === "arrow" && node.body.type !== "BlockStatement") {
      this.#text.prependRight(node.body.start, `{ ${this.#declarations()}return (`);
      this.#text.appendLeft(node.body.end, "); }");
      return;
    }
    this.#text.appendRight(node.body.start + 1, this.#declarations());
    if (kind === "arrow") return;
    if (
      context !== null &&
      (context.type === "MethodDefinition" || (context.type === "Property" && context.method))
    ) {
      this.#text.appendRight(context.computed ? context.key.start - 1 : context.key.start, "*");
    } else this.#text.appendLeft(node.start + "function".length, "*");
  }

  #declarations(): string {
    const names = Array.from({ length: this.#temporaries }, (_, index) => `$${String(index)}`);
    return names.length === 0 ? "" : `let ${names.join(", ")};`;
  }

  #makeArrowGenerator(node: FunctionNode): void {
    const { text } = this.#unit.module;
    const arrow = text.lastIndexOf("=>", node.body.start);
    const isBare = text[node.start] !== "(";
    this.#text.appendRight(node.start, isBare ? "function* (" : "function* ");
    this.#text.overwrite(arrow, arrow + 2, isBare ? ")" : "");
  }
}
