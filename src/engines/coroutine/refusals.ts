/** What cannot be translated, and why: each in a sentence for whoever wrote the line. */
import type { AnyNode, CallExpression, MemberExpression, NewExpression } from "acorn";
import { ACCESSORS, AccessKind } from "./accessors.ts";
import { isBuiltinMethod, isImplicitMethod } from "./builtins.ts";
import type { Callee, Colouring } from "./colour.ts";
import { hasOptionalLink, memberName, propertyName } from "./nodes.ts";
import { isMemberContext } from "./syntax.ts";
import type { CallSite, CodeUnit } from "./syntax.ts";

/** Why a module cannot be translated. */
export interface Refusal {
  readonly url: string;
  /** From 1. */
  readonly line: number;
  readonly reason: string;
}

/** Functions that take a function and know what to do with a coroutine. */
const TAKES_COROUTINES: ReadonlySet<string> = new Set(["defineScenario", "spawnThread", "spawn", "explore"]);

/** Names that rewritten code has for itself. */
const OWN_NAMES = /^\$(?:S|U|\d+)$/;

/** Everything in a function that cannot be translated. */
export function refusalsOf(unit: CodeUnit, colouring: Colouring): Refusal[] {
  const refuse = (node: AnyNode, reason: string): Refusal => ({
    url: unit.module.url,
    line: node.loc?.start.line ?? 1,
    reason,
  });
  const found = unit.calls.flatMap((call) => {
    const reason = isThroughFunction(call.node, unit, colouring)
      ? "a function that reaches shared memory is called through call, apply or bind: call it"
      : reasonAgainstCall(call, colouring.callee(call, unit));
    return reason === undefined ? [] : [refuse(call.node, reason)];
  });
  for (const { node, to } of unit.handed) {
    const reason = reasonAgainstHanding(node, to, unit, colouring);
    if (reason !== undefined) found.push(refuse(node, reason));
  }
  for (const name of [...unit.names.keys(), ...unit.functions.keys()])
    if (OWN_NAMES.test(name))
      found.push(refuse(unit.node ?? unit.module.program, `${name} is the explorer's own name`));
  const reason = colouring.isColoured(unit) ? reasonAgainst(unit, colouring) : undefined;
  if (reason !== undefined) found.push(refuse(unit.node ?? firstReach(unit, colouring), reason));
  return found;
}

/** Why a function cannot be a coroutine. */
export function reasonAgainst(unit: CodeUnit, colouring: Colouring): string | undefined {
  const { kind, node, context, name } = unit;
  if (kind === "module") return "reaches shared memory while the module is loaded";
  if (kind === "accessor") return `the getter or setter ${name} reaches shared memory: make it a method`;
  if (kind === "constructor")
    return `the constructor of ${unit.className} reaches shared memory: do it in a method`;
  if (node === null) return undefined;
  if ("async" in node && node.async) return `the async function${spaced(name)} reaches shared memory`;
  if ("generator" in node && node.generator) return `the generator${spaced(name)} reaches shared memory`;
  const isMember = kind === "method" || (unit.module.isRaw && context !== null && isMemberContext(context));
  if (isMember && (unit.module.isRaw ? isImplicitMethod(name) : isBuiltinMethod(name)))
    return `the method ${name} reaches shared memory, but is called as one of JavaScript's own: give it another name`;
  if (kind === "arrow" && unit.usesThis) return "an arrow function that uses `this` reaches shared memory";
  return context === null ? undefined : reasonAgainstPlace(unit, context, colouring);
}

/** Not every function has a name. */
function spaced(name: string): string {
  return name === "" ? "" : ` ${name}`;
}

/** A coroutine must stand where everybody who calls it is known, or asks what he has called. */
function reasonAgainstPlace(unit: CodeUnit, context: AnyNode, colouring: Colouring): string | undefined {
  const { type } = context;
  if (type === "CallExpression" || type === "NewExpression") {
    if (context.callee === unit.node) return undefined;
    if (type === "CallExpression" && takesCoroutines(context, unit.parent, colouring)) return undefined;
    const spawns = unit.calls.some((call) => {
      const callee = colouring.callee(call, unit);
      return callee.kind === "raw" && callee.raw.name === "spawn";
    });
    return spawns
      ? "a callback spawns a thread: whoever calls it cannot wait for it; spawn in a loop instead"
      : "a callback reaches shared memory: whoever calls it cannot wait for it";
  }
  if (type === "AssignmentExpression" && (unit.name === "" || context.operator !== "="))
    return "a function that is assigned to a variable reaches shared memory: declare it as a function";
  if (isMemberContext(context) && unit.name === "")
    return "a method with a computed name reaches shared memory";
  return UNNAMED_CONTEXTS.has(type)
    ? "a function in the middle of an expression reaches shared memory: give it a name"
    : undefined;
}

/** Where a function is part of an expression that may give it to anybody. */
const UNNAMED_CONTEXTS: ReadonlySet<string> = new Set([
  "AssignmentPattern",
  "AwaitExpression",
  "ConditionalExpression",
  "LogicalExpression",
  "SequenceExpression",
  "SpreadElement",
]);

function takesCoroutines(call: CallExpression, caller: CodeUnit | null, colouring: Colouring): boolean {
  const { callee } = call;
  const name =
    callee.type === "MemberExpression"
      ? memberName(callee.property)
      : callee.type === "Identifier"
        ? callee.name
        : "";
  if (TAKES_COROUTINES.has(name)) return true;
  // One that is a coroutine itself asks of every function that it is given.
  return caller !== null && colouring.callee({ node: call }, caller).kind === "coroutine";
}

function reasonAgainstCall({ node, isOutside, isInChain }: CallSite, callee: Callee): string | undefined {
  if (callee.kind === "plain" || (isOutside && isUncertain(callee))) return undefined;
  if (isOutside) return "reaches shared memory in a default value or a field of a class";
  if (node.type === "TaggedTemplateExpression")
    return callee.kind === "value" ? undefined : "the tag of a template reaches shared memory: call it";
  if (callee.kind === "accessor" || callee.kind === "raw") return reasonAgainstAccess(node, callee);
  if (callee.kind === "coroutine" && isInChain && hasOptionalLink(node))
    return "reaches shared memory in the middle of an optional chain: give what it returns a name";
  return undefined;
}

function reasonAgainstAccess(
  node: CallExpression | NewExpression,
  callee: Extract<Callee, { kind: "accessor" | "raw" }>,
): string | undefined {
  const target = node.callee;
  if (node.arguments.some(({ type }) => type === "SpreadElement"))
    return "a shared access with spread arguments: write them out";
  if (callee.kind === "raw") return callee.raw.refusal;
  if (target.type !== "MemberExpression") return undefined;
  const { address, kind } = callee.accessor;
  if (address === "receiver" && target.object.type === "Super")
    return `super.${callee.name} is a shared access: call it on an object`;
  if (kind === AccessKind.wait && (hasOptionalLink(target) || target.object.type === "Super"))
    return `${callee.name} wants an object that is there`;
  return undefined;
}

function reasonAgainstHanding(
  node: AnyNode,
  to: CallExpression | NewExpression | null,
  unit: CodeUnit,
  colouring: Colouring,
): string | undefined {
  const property = node.type === "MemberExpression" ? propertyName(node) : undefined;
  if (property !== undefined && ACCESSORS.has(property) && !unit.module.isRaw)
    return `${property} is a shared access and cannot be handed on: call it`;
  if (node.type === "MemberExpression" && !isOwnMethod(node, unit)) return undefined;
  if (!colouring.meansCoroutine(node, unit)) return undefined;
  if (to?.type === "CallExpression" && takesCoroutines(to, unit, colouring)) return undefined;
  const name = property ?? (node.type === "Identifier" ? node.name : "it");
  return to === null
    ? `${name} reaches shared memory and cannot be assigned: call it`
    : `${name} reaches shared memory and is handed to somebody who cannot wait for it`;
}

/** Whether a member is a method for certain; a field may have the name of some other class's method. */
function isOwnMethod({ object, property }: MemberExpression, { module, className }: CodeUnit): boolean {
  if (object.type !== "ThisExpression") return false;
  const name = memberName(property);
  return module.units.some(
    (each) => each.kind === "method" && each.className === className && each.name === name,
  );
}

/** `f.call(…)`: what JavaScript's own methods of functions return is seen by nobody. */
function isThroughFunction(node: CallSite["node"], unit: CodeUnit, colouring: Colouring): boolean {
  if (node.type !== "CallExpression" || node.callee.type !== "MemberExpression") return false;
  const { object, property } = node.callee;
  return ["call", "apply", "bind"].includes(memberName(property)) && colouring.meansCoroutine(object, unit);
}

function firstReach(unit: CodeUnit, colouring: Colouring): AnyNode {
  const call = unit.calls.find((each) => colouring.callee(each, unit).kind !== "plain");
  return call?.node ?? unit.module.program;
}

/** Whether only the running program knows if a call reaches shared memory. */
export function isUncertain(callee: Callee): boolean {
  return callee.kind === "value" || (callee.kind === "raw" && !callee.raw.isCertain);
}
