/**
 * The calls that each thread is in the middle of. A coroutine that is resumed goes on in its innermost call at once, and
 * what a call returns is handed to its caller when it does: a switch costs the same however deep it happens, where a
 * chain of `yield*` would be walked down and up each time.
 */

/** A thread under the scheduler: what a rewritten function returns when it is called. */
export type Coroutine = Generator<undefined, unknown, unknown>;

/** What every generator inherits from: the iterator methods of its kind, and only it has. */
const GENERATORS: object = prototypeOf(prototypeOf(nothing()));

/** Whether what a call returned is a coroutine that has to be run. */
export function isCoroutine(value: unknown): value is Coroutine {
  return typeof value === "object" && value !== null && GENERATORS.isPrototypeOf(value);
}

/** Runs a coroutine, which has not run yet, until it returns or switches. */
export function enter(coroutine: Coroutine): IteratorResult<undefined, unknown> {
  return NEXT.call(coroutine);
}

/** The suspended calls of the threads of an execution. Arrays keep their lengths: what is beyond the depth is stale. */
export class CallStacks {
  /** Of each thread, the outermost call first. */
  readonly #frames: Coroutine[][] = [];
  /** Calls that each thread is in the middle of. */
  readonly #depths: number[] = [];
  /** Calls that the switch under way has suspended, the innermost first. */
  readonly #suspended: Coroutine[] = [];
  #suspensions = 0;
  /** What the last thread that ended returned. */
  returned: unknown = undefined;

  /** A thread whose outermost call is a coroutine that has not run yet. */
  begin(thread: number, coroutine: Coroutine): void {
    (this.#frames[thread] ??= [])[0] = coroutine;
    this.#depths[thread] = 1;
    this.#suspensions = 0;
  }

  /** A call switches, and its caller is about to do so. */
  suspend(coroutine: Coroutine): void {
    this.#suspended[this.#suspensions++] = coroutine;
  }

  /** Lets a thread go on until it switches, or to its end. Whether it has ended. Throws what the thread throws. */
  resume(thread: number): boolean {
    try {
      return this.#goOn(thread, undefined);
    } catch (error) {
      return this.#unwind(thread, error);
    }
  }

  #goOn(thread: number, given: unknown): boolean {
    const frames = this.#frames[thread] ?? [];
    let depth = this.#depths[thread] ?? 0;
    let value = given;
    do {
      const result = NEXT.call(frames[depth - 1] ?? NOBODY, value);
      if (result.done !== true) {
        if (this.#suspensions > 0) this.#takeSuspended(thread);
        return false;
      }
      ({ value } = result);
      this.#depths[thread] = --depth;
    } while (depth > 0);
    this.returned = value;
    return true;
  }

  /** What the innermost call has thrown goes to its callers, who may catch it. */
  #unwind(thread: number, error: unknown): boolean {
    const depth = (this.#depths[thread] ?? 0) - 1;
    this.#depths[thread] = depth;
    const caller = this.#frames[thread]?.[depth - 1];
    // oxlint-disable-next-line typescript/only-throw-error -- whatever the thread has thrown
    if (depth <= 0 || caller === undefined) throw error;
    try {
      const result = caller.throw(error);
      if (result.done !== true) {
        this.#takeSuspended(thread);
        return false;
      }
      this.#depths[thread] = depth - 1;
      this.returned = result.value;
      return depth === 1 || this.#goOn(thread, result.value);
    } catch (next) {
      return this.#unwind(thread, next);
    }
  }

  #takeSuspended(thread: number): void {
    const frames = this.#frames[thread] ?? [];
    let depth = this.#depths[thread] ?? 0;
    for (let left = this.#suspensions; left > 0; left--)
      frames[depth++] = this.#suspended[left - 1] ?? NOBODY;
    this.#depths[thread] = depth;
    this.#suspensions = 0;
  }
}

// oxlint-disable-next-line eslint/require-yield -- a generator like any other
function* nothing(): Coroutine {
  return undefined;
}

const NOBODY = nothing();

/** Each generator function has a prototype of its own: looking `next` up in all of them would cost as much as a switch. */
// oxlint-disable-next-line typescript/unbound-method -- called with a generator each time
const NEXT = NOBODY.next;

function prototypeOf(value: object): object {
  const prototype: unknown = Object.getPrototypeOf(value);
  return typeof prototype === "object" && prototype !== null ? prototype : {};
}
