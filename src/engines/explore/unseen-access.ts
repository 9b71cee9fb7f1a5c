/** What a program must not do with shared memory, since the scheduler could not see it. */
import { shortPath } from "./short-path.ts";

/** A file, as a path or a URL, and a line; or what finds them out. */
export type Where = string | (() => string);

/** Where nobody can wait for the scheduler. */
export const UNINTERRUPTED =
  "where the explorer cannot interrupt it " +
  "(a getter, a constructor, a callback, a trap of a Proxy, a default value, or a method that accesses a whole array)";

/** Something would access shared memory unseen. */
export class UnseenAccessError extends Error {
  /** `where`: a file, as a path or a URL, and a line. */
  constructor(where: string, what: string) {
    const isFile = /^(?:file:\/\/)?\//.test(where);
    super(`${isFile ? shortPath(`file://${where.replace(/^file:\/\//, "")}`) : where}: ${what}`);
    this.name = "UnseenAccessError";
  }
}

/** Whether a value is a view of shared memory. */
export function isSharedView(value: unknown): boolean {
  return ArrayBuffer.isView(value) && value.buffer instanceof SharedArrayBuffer;
}

const NATIVE = /\{\s*\[native code\]\s*\}$/;

/** Whether a function is one of JavaScript's own; not one of a program's that was bound. */
export function isNative(value: unknown): boolean {
  if (typeof value !== "function" || value.name.startsWith("bound ")) return false;
  return NATIVE.test(Function.prototype.toString.call(value));
}
