/** Shared accesses of code that knows nothing of Umbra: the functions of `Atomics`. */
import type { CallExpression } from "acorn";
import { AccessKind } from "./accessors.ts";
import type { Accessor } from "./accessors.ts";
import { ATOMICS_BY_NAME } from "./atomics-names.ts";
import { propertyName } from "./nodes.ts";

/** A call of a function of `Atomics` or of a primitive of programs under test. */
export interface RawCall {
  readonly name: string;
  readonly accessor: Accessor;
  /** Why it cannot be translated. */
  readonly refusal: string | undefined;
  /** False: whether it is one is seen when it is called. */
  readonly isCertain: boolean;
}

function atomic(kind: number): Accessor {
  return { kind, span: 1, mode: "atomic", address: "cell" };
}

function sync(kind: number): Accessor {
  return { kind, span: 1, mode: "sync", address: "receiver" };
}

const { read, write, update, exchange } = AccessKind;

const ATOMICS: ReadonlyMap<string, Accessor> = new Map([
  ["load", atomic(read)],
  ["store", atomic(write)],
  ["exchange", atomic(update)],
  ["add", atomic(update)],
  ["sub", atomic(update)],
  ["and", atomic(update)],
  ["or", atomic(update)],
  ["xor", atomic(update)],
  ["compareExchange", atomic(exchange)],
  // Looks at the cell and goes to sleep, in one; `WAKE` follows.
  ["wait", sync(AccessKind.suspend)],
  ["notify", sync(AccessKind.signal)],
  ["pause", sync(AccessKind.yield)],
]);

/** Second part of a wait: goes on when it was notified. */
export const WAKE: Accessor = sync(AccessKind.relock);
/** Second part of a wait that may end by itself. */
export const WAKE_ANY_TIME: Accessor = atomic(update);

/** Element of a typed array: an access without any order. */
export const ELEMENT_READ: Accessor = { kind: read, span: 1, mode: "guarded", address: "cell" };
/** As `ELEMENT_READ`. */
export const ELEMENT_WRITE: Accessor = { kind: write, span: 1, mode: "guarded", address: "cell" };

/** Methods of what programs under test get from `lock` and `spawn`. Others may have methods of these names. */
const SYNC_METHODS: ReadonlyMap<string, Accessor> = new Map([
  ["acquire", sync(AccessKind.lock)],
  ["release", sync(AccessKind.unlock)],
  ["join", sync(AccessKind.join)],
]);

const SPAWN: RawCall = {
  name: "spawn",
  accessor: sync(AccessKind.spawn),
  refusal: undefined,
  isCertain: true,
};

/** What a call does to shared memory if its name says so, undefined if it does not. */
export function rawCallOf(
  { callee }: CallExpression,
  isUmbra: (name: string) => boolean,
): RawCall | undefined {
  if (callee.type === "Identifier") return isUmbra(callee.name) ? SPAWN : undefined;
  if (callee.type !== "MemberExpression") return undefined;
  const name = propertyName(callee) ?? "";
  if (callee.object.type === "Identifier" && callee.object.name === "Atomics") return atomicsCall(name);
  const accessor = callee.object.type === "Super" ? undefined : SYNC_METHODS.get(name);
  return accessor === undefined ? undefined : { name, accessor, refusal: undefined, isCertain: false };
}

function atomicsCall(function_: string): RawCall | undefined {
  const name = `Atomics.${function_}`;
  if (function_ === "isLockFree") return undefined;
  const accessor = ATOMICS.get(function_);
  if (accessor !== undefined) return { name, accessor, refusal: undefined, isCertain: true };
  const refusal = function_ === "" ? ATOMICS_BY_NAME : `${name} cannot be explored`;
  return { name, accessor: atomic(update), refusal, isCertain: true };
}

/** Methods that access a typed array any number of times, or hand its elements to somebody. */
const WHOLE_ARRAY_METHODS: ReadonlySet<string> = new Set(
  "at copyWithin entries every fill filter find findIndex findLast findLastIndex forEach includes indexOf join keys lastIndexOf map reduce reduceRight reverse set slice some sort toLocaleString toReversed toSorted toString values with from of assign apply concat"
    .split(" ")
    .concat(Object.getOwnPropertyNames(DataView.prototype).filter((name) => /^[gs]et/.test(name))),
);

const WHOLE_ARRAY_TAKERS: ReadonlySet<string> = new Set(
  "from assign apply concat entries keys values set".split(" "),
);

/** Whether a method of this name may access a whole array: its object's, or one that is given to it. */
export function isWholeArrayMethod(name: string | undefined): boolean {
  return name !== undefined && WHOLE_ARRAY_METHODS.has(name);
}

/** Whether a method of this name may read a whole array that is given to it. */
export function takesWholeArrays(name: string | undefined): boolean {
  return name !== undefined && WHOLE_ARRAY_TAKERS.has(name);
}
