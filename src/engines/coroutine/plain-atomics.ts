/**
 * The accesses of `src/memory/wasm-atomics.ts` for code that only one thread runs: a coroutine is not interrupted in the
 * middle of one, so plain accesses are atomic, and several times faster.
 */
import type { WasmAtomics } from "../../memory/wasm-atomics.ts";

class PlainAtomics implements WasmAtomics {
  readonly scratch: { readonly buffer: ArrayBuffer } = { buffer: new ArrayBuffer(8) };
  readonly #out = new Int32Array(this.scratch.buffer);
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #bytes: Uint8Array;

  constructor(buffer: ArrayBufferLike) {
    this.#words = new Int32Array(buffer);
    this.#halves = new Uint16Array(buffer);
    this.#bytes = new Uint8Array(buffer);
  }

  load32(address: number): number {
    return this.#words[address >>> 2] ?? 0;
  }

  store32(address: number, value: number): void {
    this.#words[address >>> 2] = value;
  }

  compareExchange32(address: number, expected: number, value: number): number {
    const seen = this.#words[address >>> 2] ?? 0;
    if (seen === (expected | 0)) this.#words[address >>> 2] = value;
    return seen;
  }

  add32(address: number, delta: number): number {
    const seen = this.#words[address >>> 2] ?? 0;
    this.#words[address >>> 2] = seen + delta;
    return seen;
  }

  or32(address: number, bits: number): number {
    const seen = this.#words[address >>> 2] ?? 0;
    this.#words[address >>> 2] = seen | bits;
    return seen;
  }

  and32(address: number, bits: number): number {
    const seen = this.#words[address >>> 2] ?? 0;
    this.#words[address >>> 2] = seen & bits;
    return seen;
  }

  exchange32(address: number, value: number): number {
    const seen = this.#words[address >>> 2] ?? 0;
    this.#words[address >>> 2] = value;
    return seen;
  }

  load64(address: number): number {
    const cell = address >>> 2;
    this.#out[0] = this.#words[cell + 1] ?? 0;
    return this.#words[cell] ?? 0;
  }

  store64(address: number, low: number, high: number): void {
    const cell = address >>> 2;
    this.#words[cell] = low;
    this.#words[cell + 1] = high;
  }

  compareExchange64(
    address: number,
    expectedLow: number,
    expectedHigh: number,
    low: number,
    high: number,
  ): number {
    const cell = address >>> 2;
    const seenLow = this.#words[cell] ?? 0;
    const seenHigh = this.#words[cell + 1] ?? 0;
    this.#out[1] = seenLow;
    this.#out[0] = seenHigh;
    if (seenLow !== (expectedLow | 0) || seenHigh !== (expectedHigh | 0)) return 0;
    this.#words[cell] = low;
    this.#words[cell + 1] = high;
    return 1;
  }

  load8(address: number): number {
    return this.#bytes[address] ?? 0;
  }

  store8(address: number, value: number): void {
    this.#bytes[address] = value;
  }

  compareExchange8(address: number, expected: number, value: number): number {
    const seen = this.#bytes[address] ?? 0;
    if (seen === expected) this.#bytes[address] = value;
    return seen;
  }

  load16(address: number): number {
    return this.#halves[address >>> 1] ?? 0;
  }

  store16(address: number, value: number): void {
    this.#halves[address >>> 1] = value;
  }

  compareExchange16(address: number, expected: number, value: number): number {
    const seen = this.#halves[address >>> 1] ?? 0;
    if (seen === expected) this.#halves[address >>> 1] = value;
    return seen;
  }
}

/** Plain accessors over a memory, in the place of those that `wasm-atomics.ts` instantiates. */
export function instantiateAtomics(memory: WebAssembly.Memory): WasmAtomics {
  return new PlainAtomics(memory.buffer);
}
