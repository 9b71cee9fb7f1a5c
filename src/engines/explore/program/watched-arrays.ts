/**
 * Elements of shared arrays that are read without an element or a method being written: `String(array)`, `"" + [array]`,
 * `JSON.stringify`, `function f([first]) {}`, `function f({ 0: first }) {}`. The thread of a program has typed arrays that
 * look whether they are shared when they are converted, iterated or taken apart.
 */
import { RAW } from "../raw-access.ts";
import { callerPlace } from "./watched-proxies.ts";

type AnyFunction = (this: unknown, ...given: unknown[]) => unknown;

const PROTOTYPE: object = Object(Object.getPrototypeOf(Int32Array.prototype));
const CONVERSIONS = ["join", "toString", "toLocaleString", "entries", "values"];

/** From now on this thread refuses such reads, when they happen. */
export function watchArrays(): void {
  for (const name of CONVERSIONS) {
    const builtin: unknown = Reflect.get(PROTOTYPE, name);
    if (isFunction(builtin)) define(name, watched(builtin));
  }
  define(Symbol.iterator, Reflect.get(PROTOTYPE, "values"));
  // What JSON writes of an array is its elements by their numbers.
  define("toJSON", watched(elementsOf));
  // What a pattern looks up that takes elements out of anything.
  Object.defineProperty(PROTOTYPE, RAW.elements, {
    get(): undefined {
      RAW.unshared(this, callerPlace);
    },
  });
}

const elementsOf: AnyFunction = function toJSON() {
  return { ...Object(this) };
};

function define(name: string | symbol, value: unknown): void {
  Object.defineProperty(PROTOTYPE, name, { value, writable: true, enumerable: false, configurable: true });
}

function watched(builtin: AnyFunction): AnyFunction {
  return new Proxy(builtin, {
    apply: (target, self: unknown, given: unknown[]): unknown =>
      Reflect.apply(target, RAW.unshared(self, callerPlace), given),
  });
}

function isFunction(value: unknown): value is AnyFunction {
  return typeof value === "function";
}
