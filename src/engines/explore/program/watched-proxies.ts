/**
 * Functions that JavaScript calls by itself: the traps of a Proxy, and the getters and setters that `defineProperty` and
 * its kin are given. Nobody can wait for one that has become a coroutine, and what it returns would pass for a value. Where
 * they are made is not seen in the text of a module (`const P = Proxy`), so the thread of a program has builtins of its
 * own, which look at what each call returns.
 */
import { placeOf } from "../../error-place.ts";
import { RAW } from "../raw-access.ts";

type AnyFunction = (this: unknown, ...given: unknown[]) => unknown;

/** As JavaScript has it. */
const PlainProxy = Proxy;
const watched = new WeakMap<AnyFunction, AnyFunction>();

/** From now on this thread refuses traps, getters and setters that reach shared memory, when they are called. */
export function watchProxies(): void {
  const { revocable } = Proxy;
  globalThis.Proxy = new PlainProxy(Proxy, {
    construct: (target, [object, traps]: unknown[]): object => {
      RAW.unhidden(object, callerPlace);
      const made: unknown = Reflect.construct(target, [object, watchedTraps(traps)]);
      return Object(made);
    },
  });
  Proxy.revocable = through(revocable, ([object, traps]) => [unhidden(object), watchedTraps(traps)]);
  Object.defineProperty = through(Object.defineProperty, withDescriptor);
  Reflect.defineProperty = through(Reflect.defineProperty, withDescriptor);
  Object.defineProperties = through(Object.defineProperties, withDescriptors);
  Object.create = through(Object.create, ([parent, ...rest]) => withDescriptors([unhidden(parent), ...rest]));
  Object.setPrototypeOf = through(Object.setPrototypeOf, withParent);
  Reflect.setPrototypeOf = through(Reflect.setPrototypeOf, withParent);
}

/** A builtin that is given something else than it was called with. */
function through<Builtin extends (...given: never[]) => unknown>(
  builtin: Builtin,
  instead: (given: readonly unknown[]) => unknown[],
): Builtin {
  return new PlainProxy(builtin, {
    apply: (target, self: unknown, given: unknown[]): unknown => Reflect.apply(target, self, instead(given)),
  });
}

function unhidden(object: unknown): unknown {
  return RAW.unhidden(object, callerPlace);
}

function withParent([object, parent]: readonly unknown[]): unknown[] {
  return [object, unhidden(parent)];
}

function withDescriptor([object, name, descriptor]: readonly unknown[]): unknown[] {
  return [object, name, watchedDescriptor(descriptor)];
}

function withDescriptors([object, descriptors]: readonly unknown[]): unknown[] {
  if (!isObject(descriptors)) return [object, descriptors].slice(0, descriptors === undefined ? 1 : 2);
  const names = Reflect.ownKeys(descriptors).filter((name) => Object.hasOwn(descriptors, name));
  const all = names.map((name) => [name, watchedDescriptor(Reflect.get(descriptors, name))] as const);
  return [object, Object.fromEntries(all)];
}

function watchedDescriptor(descriptor: unknown): unknown {
  if (!isObject(descriptor) || !("get" in descriptor || "set" in descriptor)) return descriptor;
  const accessors = ["get", "set"].filter((name) => name in descriptor);
  return {
    ...descriptor,
    ...Object.fromEntries(accessors.map((name) => [name, watchedFunction(Reflect.get(descriptor, name))])),
  };
}

/** Traps are looked up at each use, so what is given is watched, not copied. */
function watchedTraps(traps: unknown): unknown {
  if (!isObject(traps)) return traps;
  return new PlainProxy(traps, {
    get: (target, name, receiver): unknown => {
      const trap: unknown = Reflect.get(target, name, receiver);
      return name === "get" ? blindTrap(watchedFunction(trap)) : watchedFunction(trap);
    },
  });
}

/** A trap that is not shown what rewritten patterns look up. */
function blindTrap(trap: unknown): unknown {
  if (!isFunction(trap)) return trap;
  const blind: AnyFunction = function get(...given) {
    return given[1] === RAW.elements ? undefined : Reflect.apply(trap, this, given);
  };
  return blind;
}

function watchedFunction(value: unknown): unknown {
  if (!isFunction(value)) return value;
  const known = watched.get(value);
  if (known !== undefined) return known;
  const made: AnyFunction = function call(...given) {
    return RAW.alone(Reflect.apply(value, this, given), callerPlace);
  };
  watched.set(value, made);
  watched.set(made, made);
  return made;
}

/** The line that has called what nobody can wait for. */
export function callerPlace(): string {
  const place = placeOf(new Error("here"));
  return place === undefined ? "a library" : `${place.file}:${String(place.line)}`;
}

function isFunction(value: unknown): value is AnyFunction {
  return typeof value === "function";
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
