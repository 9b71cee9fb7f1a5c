/**
 * The one shared memory of a machine, and every way to access it.
 *
 * There are three kinds of cell, and the layout says of each region which kind it holds (layout.ts):
 * - atomic cells are read and written by anybody at any time, with the sequentially consistent accesses below;
 * - guarded cells belong to a lock: whoever holds it uses plain accesses, ordered by the lock itself;
 * - private cells belong to one vCPU; others read them only while that vCPU is parked.
 * The kinds have accessors of their own so that a checker can hold every access against the declaration.
 */
import { instantiateAtomics } from "./wasm-atomics.ts";
import type { WasmAtomics } from "./wasm-atomics.ts";

const WASM_PAGE_BYTES = 65536;

/** What another thread needs to attach to the same memory. */
export interface SharedMemoryHandle {
  readonly memory: WebAssembly.Memory;
  readonly pages: number;
}

/** One thread's view of the shared memory. Cells are indices of int32 words. */
export class SharedMemory {
  readonly handle: SharedMemoryHandle;
  /** After an entry access: the low half of what memory held (compareExchangeEntry only). */
  low = 0;
  /** After an entry access: the high half of what memory held. */
  high = 0;
  readonly #words: Int32Array;
  readonly #atomics: WasmAtomics;
  readonly #scratch: Int32Array;

  protected constructor(handle: SharedMemoryHandle) {
    this.handle = handle;
    this.#words = new Int32Array(handle.memory.buffer);
    this.#atomics = instantiateAtomics(handle.memory, handle.pages);
    this.#scratch = new Int32Array(this.#atomics.scratch.buffer);
  }

  /** A new memory of at least `words` int32 words, all zero. Throws RangeError when the host has no room for it. */
  static create(words: number): SharedMemory {
    const pages = Math.ceil((words * 4) / WASM_PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    return new SharedMemory({ memory, pages });
  }

  /** The memory of another thread. */
  static attach(handle: SharedMemoryHandle): SharedMemory {
    return new SharedMemory(handle);
  }

  /** Number of int32 words. */
  get words(): number {
    return this.#words.length;
  }

  /** Atomic load of a word. */
  loadWord(cell: number): number {
    return this.#atomics.load32(cell << 2);
  }

  /** Atomic store of a word. */
  storeWord(cell: number, value: number): void {
    this.#atomics.store32(cell << 2, value);
  }

  /** Atomic compare-exchange of a word; returns what memory held. */
  compareExchangeWord(cell: number, expected: number, value: number): number {
    return this.#atomics.compareExchange32(cell << 2, expected, value);
  }

  /** Atomic exchange of a word; returns what memory held. */
  exchangeWord(cell: number, value: number): number {
    return this.#atomics.exchange32(cell << 2, value);
  }

  /** Atomic addition to a word; returns what memory held. */
  addWord(cell: number, delta: number): number {
    return this.#atomics.add32(cell << 2, delta);
  }

  /** Atomic OR into a word; returns what memory held. */
  orWord(cell: number, bits: number): number {
    return this.#atomics.or32(cell << 2, bits);
  }

  /** Atomic AND into a word; returns what memory held. */
  andWord(cell: number, bits: number): number {
    return this.#atomics.and32(cell << 2, bits);
  }

  /** Atomic load of the 64-bit entry at an even cell; returns the low half, `high` has the other. */
  loadEntry(cell: number): number {
    const low = this.#atomics.load64(cell << 2);
    this.high = this.#scratch[0] ?? 0;
    return low;
  }

  /** Atomic store of the 64-bit entry at an even cell. */
  storeEntry(cell: number, low: number, high: number): void {
    this.#atomics.store64(cell << 2, low, high);
  }

  /** Atomic compare-exchange of the 64-bit entry at an even cell; `low` and `high` have what memory held. */
  compareExchangeEntry(
    cell: number,
    expectedLow: number,
    expectedHigh: number,
    low: number,
    high: number,
  ): boolean {
    const stored = this.#atomics.compareExchange64(cell << 2, expectedLow, expectedHigh, low, high);
    this.high = this.#scratch[0] ?? 0;
    this.low = this.#scratch[1] ?? 0;
    return stored === 1;
  }

  /** Atomic load of the byte at a byte address. */
  loadByte(address: number): number {
    return this.#atomics.load8(address);
  }

  /** Atomic store of the byte at a byte address. */
  storeByte(address: number, value: number): void {
    this.#atomics.store8(address, value);
  }

  /** Atomic compare-exchange of the byte at a byte address; returns what memory held. */
  compareExchangeByte(address: number, expected: number, value: number): number {
    return this.#atomics.compareExchange8(address, expected & 0xff, value & 0xff);
  }

  /** Atomic load of the 16-bit word at an even byte address. */
  loadHalf(address: number): number {
    return this.#atomics.load16(address);
  }

  /** Atomic store of the 16-bit word at an even byte address. */
  storeHalf(address: number, value: number): void {
    this.#atomics.store16(address, value);
  }

  /** Atomic compare-exchange of the 16-bit word at an even byte address; returns what memory held. */
  compareExchangeHalf(address: number, expected: number, value: number): number {
    return this.#atomics.compareExchange16(address, expected & 0xffff, value & 0xffff);
  }

  /** Plain load of a cell whose lock the caller holds. */
  loadGuarded(cell: number): number {
    return this.#words[cell] ?? 0;
  }

  /** Plain store to a cell whose lock the caller holds. */
  storeGuarded(cell: number, value: number): void {
    this.#words[cell] = value;
  }

  /** Plain load of a cell that belongs to the calling vCPU (or to a parked one). */
  loadPrivate(cell: number): number {
    return this.#words[cell] ?? 0;
  }

  /** Plain store to a cell that belongs to the calling vCPU. */
  storePrivate(cell: number, value: number): void {
    this.#words[cell] = value;
  }

  /** Cells that belong to one vCPU, as an array: for what it reads at every access, its TLB and its counters. */
  privateWords(cell: number, count: number): Int32Array {
    return this.#words.subarray(cell, cell + count);
  }

  /** Fills `count` words with one value, plainly: for memory that nobody else can reach yet. */
  fillWords(cell: number, count: number, value: number): void {
    this.#words.fill(value, cell, cell + count);
  }

  /** The words themselves, for `wait.ts` and for tools that look at a machine at rest. */
  get view(): Int32Array {
    return this.#words;
  }
}
