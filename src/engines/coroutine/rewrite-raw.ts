/**
 * Scheduling points of code that knows nothing of Umbra: `Atomics` and elements of typed arrays. Whether an array is
 * shared is only known when the program runs, so each element asks; and where nobody could wait, it is refused then.
 */
import type {
  AnyNode,
  AssignmentExpression,
  CallExpression,
  MemberExpression,
  NewExpression,
  ObjectPattern,
  UpdateExpression,
} from "acorn";
import type { Colouring } from "./colour.ts";
import { GivenRewriter, NEVER_ARRAYS, WATCH, placeOf } from "./rewrite-given.ts";
import { memberName, propertyName } from "./nodes.ts";
import {
  ELEMENT_READ,
  ELEMENT_WRITE,
  WAKE,
  WAKE_ANY_TIME,
  isWholeArrayMethod,
  takesWholeArrays,
} from "./raw-accesses.ts";
import type { RawCall } from "./raw-accesses.ts";
import { separatorBefore } from "./unit-text.ts";
import type { UnitText } from "./unit-text.ts";

/** Rewrites the raw accesses of one function. */
export class RawRewriter {
  readonly #at: UnitText;
  /** Elements that a pattern sets. */
  readonly #set = new Set<AnyNode>();

  readonly #given: GivenRewriter;

  constructor(at: UnitText, colouring: Colouring) {
    this.#at = at;
    this.#given = new GivenRewriter(at, colouring);
  }

  /** A call of `Atomics`; returns the number of the next free temporary. */
  call(node: CallExpression, { name, accessor }: RawCall, depth: number): number {
    const { text, site, temporary, unit } = this.#at;
    if (accessor.address === "receiver" && !this.#at.canYield(node)) {
      if (node.callee.type === "MemberExpression") this.#watch(node.callee.object, "unsynced");
      return depth;
    }
    const id = site(node, name, accessor);
    if (name === "Atomics.wait" || name === "Atomics.notify") {
      this.#replaceFunction(
        node,
        name === "Atomics.wait" ? `wait([${this.#waitSites(node, id)}]` : `notify(${id}`,
      );
      return depth;
    }
    if (accessor.address === "receiver") return this.#syncCall(node, id, depth);
    const [array, index] = node.arguments;
    if (array === undefined || index === undefined) return depth;
    const [first, second] = [temporary(depth), temporary(depth + 1)];
    this.#assign(array, first);
    this.#assign(index, second);
    const separator = separatorBefore(node, unit.module.text);
    text.appendLeft(node.end - 1, `${separator}${WATCH}.at(${id}, ${first}, ${second}) && (yield)`);
    return depth + 2;
  }

  /** Waiting is more than one operation. */
  #waitSites(node: CallExpression, first: string): string {
    const name = "Atomics.wait";
    return [first, this.#at.site(node, name, WAKE), this.#at.site(node, name, WAKE_ANY_TIME)].join(", ");
  }

  #replaceFunction(node: CallExpression, call: string): void {
    const { text, unit } = this.#at;
    const open = unit.module.text.indexOf("(", node.callee.end);
    const breaks = unit.module.text.slice(node.start, open).replace(/[^\n]/g, "");
    const separator = node.arguments.length === 0 ? "" : ", ";
    text.overwrite(node.start, open + 1, `(yield* ${WATCH}.${call}${separator}${breaks}`, {
      contentOnly: true,
    });
    text.prependLeft(node.end, ")");
  }

  /** An operation of a lock or a thread, or one that concerns no object: its point comes before everything. */
  #syncCall(node: CallExpression, id: string, depth: number): number {
    const { text, temporary, unit } = this.#at;
    const { callee } = node;
    if (callee.type !== "MemberExpression" || isAtomics(callee.object)) {
      text.appendRight(node.start, `(${WATCH}.point(${id}) && (yield), `);
      text.prependLeft(node.end, ")");
      return depth;
    }
    const receiver = temporary(depth);
    this.#assign(callee.object, receiver);
    const separator = separatorBefore(node, unit.module.text);
    text.appendLeft(node.end - 1, `${separator}...${WATCH}.on(${id}, ${receiver}) && (yield) ? [] : []`);
    return depth + 1;
  }

  /** Any node; returns the number of the next free temporary. */
  visit(node: AnyNode, parent: AnyNode, depth: number): number {
    if (node.type === "AssignmentExpression" && isElement(node.left)) return this.#assignment(node, depth);
    if (node.type === "UpdateExpression" && isElement(node.argument)) return this.#update(node, depth);
    if (isElement(node)) return this.#element(node, parent, depth);
    if (node.type === "ObjectPattern") this.#pattern(node);
    if (node.type === "CallExpression" || node.type === "NewExpression") this.#given.watch(node);
    this.#watchWholeArrays(node);
    return depth;
  }

  #pattern(node: ObjectPattern): void {
    for (const each of node.properties) this.#set.add(each.type === "Property" ? each.value : each.argument);
    // The first that is looked up, and undefined in whatever is no array: `{} = 0` binds nothing.
    if (node.properties.some((each) => mayTakeElement(each)))
      this.#at.text.appendRight(node.start + 1, `[${WATCH}.elements]: {} = 0, `);
  }

  #element(node: MemberExpression, parent: AnyNode, depth: number): number {
    const canYield = this.#at.canYield(node);
    const use = this.#set.has(node) ? "write" : useOf(node, parent);
    if (use === "operand" && canYield) return depth;
    if (use === "operand" || use === "other" || !canYield) {
      this.#watch(node.object);
      return depth;
    }
    const accessor = use === "write" ? ELEMENT_WRITE : ELEMENT_READ;
    this.#target(node, depth, this.#at.site(node, use, accessor));
    return depth + 2;
  }

  /** `(object)[(index, point, index)]`: the point comes last before the access. */
  #target(node: MemberExpression, depth: number, site: string | undefined): void {
    const { text, temporary } = this.#at;
    const [array, index] = [temporary(depth), temporary(depth + 1)];
    this.#assign(node.object, array);
    text.appendRight(node.property.start, `(${index} = (`);
    const point = site === undefined ? "" : `, ${WATCH}.at(${site}, ${array}, ${index}) && (yield)`;
    text.prependLeft(node.property.end, `)${point}, ${index})`);
  }

  #assignment({ left, right, operator }: AssignmentExpression, depth: number): number {
    if (!isElement(left) || !this.#at.canYield(left)) return depth;
    const { text, temporary, site } = this.#at;
    const read = operator === "=" ? undefined : site(left, "read", ELEMENT_READ);
    const write = site(left, "write", ELEMENT_WRITE);
    this.#target(left, depth, read);
    const [array, index, value] = [depth, depth + 1, depth + 2].map(temporary);
    text.appendRight(right.start, `(${value ?? ""} = (`);
    text.prependLeft(
      right.end,
      `), ${WATCH}.at(${write}, ${array ?? ""}, ${index ?? ""}) && (yield), ${value ?? ""})`,
    );
    return depth + 3;
  }

  /** `array[index]++` reads and writes, with everything in between that others may do. */
  #update(node: UpdateExpression, depth: number): number {
    const { argument, operator, prefix } = node;
    if (!isElement(argument) || !this.#at.canYield(argument)) return depth;
    const { text, temporary, site } = this.#at;
    const [array, index, seen] = [temporary(depth), temporary(depth + 1), temporary(depth + 2)];
    const [read, write] = [site(argument, "read", ELEMENT_READ), site(argument, "write", ELEMENT_WRITE)];
    const stepped = `${WATCH}.step(${seen}, ${operator === "++" ? "1" : "-1"})`;
    const sign = prefix ? node.start : node.end - 2;
    text.overwrite(sign, sign + 2, "  ", { contentOnly: true });
    text.appendRight(argument.start, `(${seen} = ${WATCH}.numeric(`);
    text.prependLeft(
      argument.end,
      `), ${array}[${index}] = (${WATCH}.at(${write}, ${array}, ${index}) && (yield), ${stepped}), ${prefix ? stepped : seen})`,
    );
    this.#target(argument, depth, read);
    return depth + 3;
  }

  /** What would access a shared array more than once without being seen is refused when it runs. */
  #watchWholeArrays(node: AnyNode): void {
    if (node.type === "CallExpression") this.#watchMethod(node);
    if (node.type === "NewExpression") this.#watchConstructor(node);
    if (node.type === "SpreadElement") this.#watch(node.argument);
    if (node.type === "ForOfStatement") this.#watch(node.right);
    if (node.type === "VariableDeclarator" && node.id.type === "ArrayPattern" && node.init)
      this.#watch(node.init);
    if (node.type === "AssignmentExpression" && node.left.type === "ArrayPattern") this.#watch(node.right);
  }

  #watchConstructor(node: NewExpression): void {
    if (node.callee.type !== "Identifier") return;
    if (node.callee.name === "SharedArrayBuffer") this.#noteBuffer(node);
    if (/^(?:\w*Array|Set|Map)$/.test(node.callee.name))
      for (const each of node.arguments) this.#watchIfWhole(each);
  }

  /** Buffers have their cells in the order in which they are made, not in which they are used. */
  #noteBuffer(node: AnyNode): void {
    this.#at.text.appendRight(node.start, `${WATCH}.buffer(`);
    this.#at.text.prependLeft(node.end, ")");
  }

  #watchMethod(node: CallExpression): void {
    const { callee, arguments: given } = node;
    if (callee.type !== "MemberExpression") return;
    const name = propertyName(callee);
    if (isWholeArrayMethod(name)) this.#watchReceiver(node, callee);
    if (takesWholeArrays(name))
      for (const each of name === "set" ? given.slice(0, 1) : given) this.#watchIfWhole(each);
  }

  #watchReceiver(node: CallExpression, { object, property }: MemberExpression): void {
    if (object.type !== "Super") {
      // `buffer.slice()` reads what is in it, and nothing else of a buffer does.
      if (!NEVER_ARRAYS.has(object.type)) this.#watch(object, "unshared", memberName(property) === "slice");
      return;
    }
    const { text } = this.#at;
    text.appendRight(node.start, `(${WATCH}.unshared(this, ${placeOf(this.#at, node)}), `);
    text.prependLeft(node.end, ")");
  }

  #watchIfWhole(node: AnyNode): void {
    if (!NEVER_ARRAYS.has(node.type)) this.#watch(node);
  }

  #watch(node: AnyNode, how: "unshared" | "unsynced" = "unshared", isRead = false): void {
    if (node.type === "Super") return;
    const { text } = this.#at;
    text.appendRight(node.start, `${WATCH}.${how}((`);
    text.prependLeft(node.end, `), ${placeOf(this.#at, node)}${isRead ? ", true" : ""})`);
  }

  #assign(node: AnyNode, name: string): void {
    this.#at.text.appendRight(node.start, `(${name} = (`);
    this.#at.text.prependLeft(node.end, "))");
  }
}

/** Whether a part of a pattern may be an element of an array: a name is none. */
function mayTakeElement(part: ObjectPattern["properties"][number]): boolean {
  if (part.type === "RestElement") return true;
  return part.computed || (part.key.type === "Literal" && /^\d+$/.test(String(part.key.value)));
}

function isAtomics(node: AnyNode): boolean {
  return node.type === "Identifier" && node.name === "Atomics";
}

function isElement(node: AnyNode): node is MemberExpression {
  return node.type === "MemberExpression" && propertyName(node) === undefined && node.object.type !== "Super";
}

/** What becomes of an element where it stands. `operand`: who rewrites the operator rewrites it too. */
function useOf(node: MemberExpression, parent: AnyNode): "read" | "write" | "operand" | "other" {
  const { type } = parent;
  if (type === "AssignmentExpression") return parent.left === node ? "operand" : "read";
  if (type === "UpdateExpression") return "operand";
  if (type === "ArrayPattern" || type === "RestElement") return "write";
  if (type === "AssignmentPattern" || type === "ForOfStatement" || type === "ForInStatement")
    return parent.left === node ? "other" : "read";
  return type === "UnaryExpression" && parent.operator === "delete" ? "other" : "read";
}
