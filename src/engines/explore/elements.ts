/** Typed arrays and the buffers that they are on. */

/** An array with elements of any type. */
export type ElementArray = NodeJS.TypedArray;

/** A shared buffer that a program made. */
export interface Region {
  readonly base: number;
  readonly bytes: Uint8Array;
  readonly initial: Uint8Array;
}

/** Whether a value has elements. */
export function isElementArray(value: unknown): value is ElementArray {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

/** Whether an element holds a value, as `Atomics.wait` compares them. */
export function isEqual(
  array: Int32Array | BigInt64Array,
  index: number,
  expected: number | bigint,
): boolean {
  const seen = array[index];
  return typeof seen === "bigint"
    ? seen === BigInt.asIntN(64, BigInt(expected))
    : seen === (Number(expected) | 0);
}
