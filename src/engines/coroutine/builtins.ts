/** Methods of JavaScript's own objects: a coroutine of that name would be mistaken for one of them. */

const BUILTIN_METHODS: ReadonlySet<string> = new Set(
  [Array, Map, Set, WeakMap, String, Int32Array, Promise, Function, RegExp, Number, function* () {}].flatMap(
    (type) => methodNames(type.prototype),
  ),
);

function methodNames(prototype: unknown): string[] {
  // That of functions is a function itself.
  if ((typeof prototype !== "object" && typeof prototype !== "function") || prototype === null) return [];
  return [...Object.getOwnPropertyNames(prototype), ...methodNames(Object.getPrototypeOf(prototype))];
}

/** Methods that JavaScript calls by itself: to iterate, to convert, to wait. */
const IMPLICIT_METHODS: ReadonlySet<string> = new Set([
  "next",
  "return",
  "throw",
  "then",
  "toString",
  "toLocaleString",
  "valueOf",
  "toJSON",
  "constructor",
]);

/** Whether objects of JavaScript's own have a method of this name. */
export function isBuiltinMethod(name: string): boolean {
  return BUILTIN_METHODS.has(name);
}

/** Whether a method of this name is called without a call being written. */
export function isImplicitMethod(name: string): boolean {
  return IMPLICIT_METHODS.has(name);
}
