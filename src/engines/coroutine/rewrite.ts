/**
 * Makes coroutines of coloured functions: a scheduling point before each shared access, and each call of another
 * coroutine by way of the scheduler. No line break comes or goes, so that every line is where it was in the source.
 *
 * A node is wrapped before the nodes in it, so what is opened for it stands outside of what they open at the same place.
 */
import { MagicString } from "magic-string";
import type { AnyNode, CallExpression, MemberExpression } from "acorn";
import { AccessKind } from "./accessors.ts";
import type { Accessor } from "./accessors.ts";
import type { Callee, Colouring } from "./colour.ts";
import { isForwarder } from "./forwarding.ts";
import { children, isFunction } from "./nodes.ts";
import type { FunctionNode } from "./nodes.ts";
import { guardCalls } from "./guard-calls.ts";
import { RawRewriter } from "./rewrite-raw.ts";
import type { SiteTable } from "./sites.ts";
import { separatorBefore } from "./unit-text.ts";
import type { UnitText } from "./unit-text.ts";
import type { CallSite, CodeUnit, ModuleCode } from "./syntax.ts";

/** Name of the scheduler in rewritten code. */
const SCHEDULER = "$S";
/** Name of what watches raw accesses and calls that nobody can wait for. */
const WATCH = "$U";

/** What the rewriter works with. */
export interface RewriteTools {
  readonly colouring: Colouring;
  readonly sites: SiteTable;
  /** URL of the module that exports the scheduler as `SCHEDULER`. */
  readonly schedulerUrl: string;
  /** URL of the module that exports the watch over raw accesses as `RAW`. */
  readonly rawUrl: string;
}

/** JavaScript of a module whose coloured functions are coroutines. The module must be without refusals. */
export function rewrite(module: ModuleCode, tools: RewriteTools): string {
  const text = new MagicString(module.text);
  for (const unit of module.units) new UnitRewriter(unit, text, tools).rewrite();
  const needed = [
    { name: SCHEDULER, exported: "SCHEDULER", url: tools.schedulerUrl },
    { name: WATCH, exported: "RAW", url: tools.rawUrl },
  ].filter(({ name }) => text.toString().includes(`${name}.`));
  const imports = needed.map(
    ({ name, exported, url }) => `import { ${exported} as ${name} } from ${JSON.stringify(url)};`,
  );
  const firstLineEnd = module.text.startsWith("#!") ? module.text.indexOf("\n") + 1 : 0;
  if (imports.length > 0) text.prependRight(firstLineEnd, imports.join(" "));
  return text.toString();
}

class UnitRewriter implements UnitText {
  readonly unit: CodeUnit;
  readonly text: MagicString;
  readonly #tools: RewriteTools;
  readonly #isColoured: boolean;
  readonly #calls: ReadonlyMap<AnyNode, CallSite>;
  readonly #outside = new Set<AnyNode>();
  readonly #raw: RawRewriter | undefined;
  #temporaries = 0;

  constructor(unit: CodeUnit, text: MagicString, tools: RewriteTools) {
    this.unit = unit;
    this.text = text;
    this.#tools = tools;
    this.#isColoured = tools.colouring.isColoured(unit);
    this.#calls = new Map(unit.calls.map((call) => [call.node, call]));
    for (const { node, isOutside } of [...unit.calls, ...unit.elements])
      if (isOutside) this.#outside.add(node);
    this.#raw = unit.module.isRaw ? new RawRewriter(this, tools.colouring) : undefined;
  }

  rewrite(): void {
    const { node, module } = this.unit;
    if (this.#isColoured && isForwarder(this.unit, this.#tools.colouring)) return;
    const hasWork = this.#isColoured || this.#raw !== undefined || this.unit.calls.some(this.#isValueCall);
    if (!hasWork) return;
    // What is closed first stands outside of what the body closes at the same place.
    const isExpression = node?.type === "ArrowFunctionExpression" && node.body.type !== "BlockStatement";
    if (isExpression && this.#isColoured) this.text.prependLeft(node.end, "); }");
    for (const each of node === null ? module.program.body : [...node.params, node.body])
      this.#visit(each, node ?? module.program, 0);
    if (node !== null && this.#isColoured) this.#makeGenerator(node);
  }

  readonly canYield = (node: AnyNode): boolean => this.#isColoured && !this.#outside.has(node);

  readonly temporary = (index: number): string => {
    this.#temporaries = Math.max(this.#temporaries, index + 1);
    return `$${String(index)}`;
  };

  readonly site = (node: AnyNode, name: string, accessor: Accessor): string => {
    const { module, className, name: unit } = this.unit;
    const id = this.#tools.sites.add({
      file: module.url,
      line: node.loc?.start.line ?? 0,
      column: (node.loc?.start.column ?? 0) + 1,
      within: className === "" ? unit : `${className}.${unit}`,
      name,
      accessor,
    });
    return String(id);
  };

  readonly #isValueCall = (call: CallSite): boolean => this.#callee(call).kind === "value";

  #callee(call: CallSite): Callee {
    return this.#tools.colouring.callee(call, this.unit);
  }

  #visit(node: AnyNode, parent: AnyNode, depth: number): void {
    // A function's parameters and body are rewritten as a unit of their own.
    if (isFunction(node)) return;
    if (node.type === "ExpressionStatement") this.#endStatementBefore(node, parent);
    const call = this.#calls.get(node);
    let used = call === undefined ? depth : this.#call(call, parent, depth);
    if (node.type === "ChainExpression") used = this.#delegateChain(node.expression, depth);
    if (this.#raw !== undefined) used = this.#raw.visit(node, parent, used);
    for (const child of children(node)) this.#visit(child, node, used);
  }

  #call(call: CallSite, parent: AnyNode, depth: number): number {
    const { node } = call;
    const callee = this.#callee(call);
    if (callee.kind === "value" && this.canYield(node)) return this.#delegateIfCoroutine(node, depth);
    if (callee.kind === "value") this.#watchCall(node);
    if (callee.kind === "coroutine" && parent.type !== "ChainExpression") this.#delegate(node, depth);
    if (node.type !== "CallExpression") return depth;
    if (callee.kind === "raw") return this.#raw?.call(node, callee.raw, depth) ?? depth;
    if (callee.kind === "accessor" && node.callee.type === "MemberExpression")
      return this.#access({ node, target: node.callee, depth }, callee.name, callee.accessor);
    return depth;
  }

  /** Without its semicolon, a statement before would go on in a parenthesis that this one now begins with. */
  #endStatementBefore(node: AnyNode, parent: AnyNode): void {
    if (!["Program", "BlockStatement", "StaticBlock", "SwitchCase"].includes(parent.type)) return;
    const before = this.unit.module.text.slice(0, node.start).trimEnd();
    if (!/[;{]$/.test(before)) this.text.appendLeft(node.start, ";");
  }

  /** Appends the scheduling point as one more argument, which is evaluated after the others and ignored. */
  #access({ node, target, depth }: AccessCall, name: string, accessor: Accessor): number {
    const site = this.site(node, name, accessor);
    const { arguments: given } = node;
    if (accessor.address === "receiver") {
      const receiver = this.#keep(target.object, given, depth);
      const [first, ...rest] = hasSecondObject(accessor) ? given : [];
      const other = first === undefined ? "" : `, ${this.#keep(first, rest, depth + 1)}`;
      this.#appendArgument(node, `${SCHEDULER}.on(${site}, ${receiver}${other}) && (yield)`);
      return depth + 2;
    }
    const [first, second, ...rest] = given;
    if (first === undefined) return depth;
    const address = this.#keep(first, given.slice(1), depth);
    if (accessor.kind === AccessKind.wait || accessor.kind === AccessKind.fill) {
      const value = second === undefined ? "0" : this.#keep(second, rest, depth + 1);
      const method = accessor.kind === AccessKind.wait ? "waitAt" : "fillAt";
      this.#appendArgument(node, `${SCHEDULER}.${method}(${site}, ${address}, ${value}) && (yield)`);
      if (accessor.kind === AccessKind.wait) this.#replaceMethod(node, target);
      return depth + 2;
    }
    const cell = accessor.address === "byte" ? `${address} >> 2` : address;
    this.#appendArgument(node, `${SCHEDULER}.at(${site}, ${cell}) && (yield)`);
    return depth + 1;
  }

  #appendArgument(node: CallExpression, argument: string): void {
    const end = node.end - 1;
    this.text.appendLeft(end, `${separatorBefore(node, this.unit.module.text)}${argument}`);
  }

  /** `memory.waitWhile(…)` becomes `$S.nothing(memory, …)`: the scheduler has waited already. */
  #replaceMethod(node: CallExpression, { object, property }: MemberExpression): void {
    const { text } = this.unit.module;
    const [dot, open] = [text.lastIndexOf(".", property.start), text.indexOf("(", property.end)];
    this.text.appendRight(object.start === dot ? object.start : node.start, `${SCHEDULER}.nothing(`);
    const breaks = text.slice(dot, open).replace(/[^\n]/g, "");
    this.text.overwrite(dot, open + 1, `,${breaks} `, { contentOnly: true });
  }

  /** The text that stands for a value behind it: a name if nothing in between may set it, else a temporary. */
  #keep(node: AnyNode, between: readonly AnyNode[], index: number): string {
    if (node.type === "Literal" && typeof node.value === "number") return String(node.value);
    if (node.type === "Identifier" && between.every((each) => isInert(each))) return node.name;
    const name = this.temporary(index);
    const isSequence = node.type === "SequenceExpression";
    this.text.appendRight(node.start, isSequence ? `(${name} = (` : `(${name} = `);
    this.text.prependLeft(node.end, isSequence ? "))" : ")");
    return name;
  }

  /** The caller switches when what it calls does, and is resumed with what that returns. */
  #delegate(node: AnyNode, depth: number): void {
    const name = this.temporary(depth);
    this.text.appendRight(node.start, `((${name} = ${SCHEDULER}.call(`);
    this.text.prependLeft(node.end, `)) === ${SCHEDULER} ? (yield) : ${name})`);
  }

  #delegateIfCoroutine(node: AnyNode, depth: number): number {
    const name = this.temporary(depth);
    this.text.appendRight(node.start, `(${SCHEDULER}.isCoroutine(${name} = `);
    const call = `(${name} = ${SCHEDULER}.call(${name})) === ${SCHEDULER} ? (yield) : ${name}`;
    this.text.prependLeft(node.end, `) ? ${call} : ${name})`);
    return depth + 1;
  }

  #watchCall(node: AnyNode): void {
    const where = JSON.stringify(`${this.unit.module.url}:${String(node.loc?.start.line)}`);
    this.text.appendRight(node.start, `${WATCH}.alone(`);
    this.text.prependLeft(node.end, `, ${where})`);
  }

  /** `object?.method()`: nothing to wait for when there is no object. */
  #delegateChain(node: AnyNode, depth: number): number {
    const call = this.#calls.get(node);
    if (call === undefined || this.#callee(call).kind !== "coroutine") return depth;
    return this.#delegateIfCoroutine(node, depth);
  }

  #makeGenerator(node: FunctionNode): void {
    const { context, kind } = this.unit;
    const opening = this.#opening(node);
    if (kind === "arrow") {
      this.#makeArrowGenerator(node, opening);
      return;
    }
    // Before what the body's first statement begins with, if it stands at the brace.
    this.text.prependRight(node.body.start + 1, opening);
    const isMethod = context?.type === "MethodDefinition" || (context?.type === "Property" && context.method);
    if (isMethod) this.text.appendRight(context.computed ? context.key.start - 1 : context.key.start, "*");
    else this.text.appendLeft(node.start + "function".length, "*");
  }

  /** What the body begins with. */
  #opening(node: FunctionNode): string {
    const begins = this.unit.module.isRaw ? guardCalls(node, this) : "";
    const names = Array.from({ length: this.#temporaries }, (_, index) => `$${String(index)}`);
    return `${names.length === 0 ? "" : `let ${names.join(", ")};`}${begins}`;
  }

  #makeArrowGenerator(node: FunctionNode, opening: string): void {
    const { text, arrows } = this.unit.module;
    const arrow = arrows.findLast((at) => at < node.body.start && at >= node.start) ?? node.start;
    const isBare = text[node.start] !== "(";
    this.text.appendRight(node.start, isBare ? "function* (" : "function* ");
    const close = isBare ? ")" : "";
    if (node.body.type === "BlockStatement") {
      this.text.overwrite(arrow, arrow + 2, close === "" ? " " : close, { contentOnly: true });
      this.text.prependRight(node.body.start + 1, opening);
      return;
    }
    this.text.overwrite(arrow, arrow + 2, `${close} { ${opening}return (`, { contentOnly: true });
  }
}

interface AccessCall {
  readonly node: CallExpression;
  readonly target: MemberExpression;
  readonly depth: number;
}

/** Giving up a lock to wait, and taking it again, concern two objects. */
function hasSecondObject({ kind }: Accessor): boolean {
  return kind === AccessKind.suspend || kind === AccessKind.relock;
}

/** Whether evaluating a node sets no variable. */
function isInert(node: AnyNode): boolean {
  if (MAY_SET.has(node.type)) return false;
  return isFunction(node) || children(node).every((each) => isInert(each));
}

const MAY_SET: ReadonlySet<string> = new Set([
  "CallExpression",
  "NewExpression",
  "TaggedTemplateExpression",
  "AssignmentExpression",
  "UpdateExpression",
]);
