/**
 * Accesses of programs that know nothing of Umbra: elements of typed arrays and `Atomics`. An array is shared if its
 * buffer is a SharedArrayBuffer. Rewritten code asks here before every access that may be one.
 *
 * What `cells` gives lies in the memory of the scheduler. Other shared buffers stay what they are; each has a copy there,
 * which is brought up to date before anybody can look.
 */
import { SITES } from "../coroutine/sites.ts";
import { SCHEDULER, THREADS_MAX } from "./scheduler.ts";
import type { SyncObject } from "./scheduler.ts";
import { isElementArray, isEqual } from "./elements.ts";
import type { ElementArray, Region } from "./elements.ts";
import { UNINTERRUPTED, UnseenAccessError, isNative, isSharedView } from "./unseen-access.ts";
import type { Where } from "./unseen-access.ts";

/** Cells below are those of the primitives of programs. */
const FIRST_CELL = 4096;
const MEMORY_CELLS = 1 << 16;
/** The threads that wait for a cell stand in the cell so much farther on, a bit each. */
const WAITERS = MEMORY_CELLS / 2;
/** Cells that are always zero, one for each thread. */
const FIRST_ZERO = 64;
/** Of one thread in one execution. */
const SPURIOUS_WAKEUPS_MAX = 2;
const NOBODY: SyncObject = { cell: FIRST_CELL - 1 };

interface Waiter {
  readonly thread: number;
  readonly cell: number;
}

/** Sites of the parts of a wait: going to sleep, waking when notified, waking at any time. */
type WaitSites = readonly [sleep: number, wake: number, wakeAnyTime: number];

/** An object of a program whose operations the scheduler knows. */
export abstract class Primitive implements SyncObject {
  abstract readonly cell: number;
}

class RawAccess {
  /** Memory of programs. */
  readonly #memory = new SharedArrayBuffer(MEMORY_CELLS * 4);
  readonly view: Int32Array = new Int32Array(this.#memory);
  readonly #bytes = new Uint8Array(this.#memory);
  /** Whether this thread explores a program. */
  isActive = false;
  /** What was about to be missed. */
  refused: UnseenAccessError | undefined;
  /** Whether an execution is under way: before, a module may set up what it likes. */
  isExecuting = false;
  /** Whether `Atomics.wait` may return without having been notified, as the waits of other systems may. */
  hasSpuriousWakeups = false;
  /** The function that was called and has not begun: its name, and where it stands; "" for none. */
  #calledName = "";
  #calledAt = "";
  /** Shared accesses so far. */
  accesses = 0;
  /** Of the pending access of each thread: address of its first byte, and how many it covers. */
  readonly byteAt = new Int32Array(THREADS_MAX);
  readonly bytesOf = new Int32Array(THREADS_MAX);
  readonly #regions = new WeakMap<ArrayBufferLike, Region>();
  /** Regions of before the first execution. */
  readonly #permanent: Region[] = [];
  /** What `cells` has given, by place and length. */
  readonly #arrays = new Map<number, Int32Array<SharedArrayBuffer>>();
  readonly #waiters: Waiter[] = [];
  /** Wakeups of each thread that nobody caused, in this execution. */
  readonly #wokenByThemselves = new Int32Array(THREADS_MAX);
  readonly #named: { readonly first: number; readonly count: number; readonly name: string }[] = [];
  #namedAtFirst = 0;
  /** Bytes that are declared open to races, by address, and where they are. */
  readonly #racy = new Uint8Array(MEMORY_CELLS * 4);
  readonly #racyRanges: { readonly from: number; readonly to: number }[] = [];
  #racyAtFirst = 0;
  #next = FIRST_CELL;
  #firstOfExecution = FIRST_CELL;
  /** Of each thread, the region whose last access may not be in the copy yet, and the cell. */
  readonly #stale: (Region | undefined)[] = Array.from({ length: THREADS_MAX });
  readonly #staleFrom = new Int32Array(THREADS_MAX);
  /** The array of the last access: where it begins (-1: it is not shared), its length, and its bytes an element. */
  #lastArray: unknown;
  #lastBase = -1;
  #lastLength = 0;
  #lastSize = 0;
  #lastByte = 0;
  #lastRegion: Region | undefined;

  /** What modules have set up by now is what each execution finds. */
  seal(): void {
    this.#firstOfExecution = this.#next;
    this.#namedAtFirst = this.#named.length;
    this.#racyAtFirst = this.#racyRanges.length;
    for (const { base, bytes, initial } of this.#permanent) {
      initial.set(bytes);
      this.#bytes.set(bytes, base << 2);
    }
    SCHEDULER.adopt(this.view);
  }

  /** Everything as when it was sealed. */
  restore(): void {
    SCHEDULER.restore();
    for (const { bytes, initial } of this.#permanent) bytes.set(initial);
    this.#next = this.#firstOfExecution;
    this.#named.length = this.#namedAtFirst;
    for (const { from, to } of this.#racyRanges.splice(this.#racyAtFirst)) this.#racy.fill(0, from, to);
    this.#waiters.length = 0;
    this.#calledAt = "";
    this.#stale.fill(undefined);
    this.#wokenByThemselves.fill(0);
    this.#lastArray = undefined;
  }

  /** Shared words, all zero. */
  cells(count: number, name = "cells"): Int32Array<SharedArrayBuffer> {
    const first = this.reserve(count, name);
    // To make an array over shared memory takes longer than to execute a small program.
    const key = first * MEMORY_CELLS + count;
    let array = this.#arrays.get(key);
    if (array === undefined) this.#arrays.set(key, (array = new Int32Array(this.#memory, first << 2, count)));
    return array;
  }

  /** Keeps words free of everything else until the execution ends; the first of them. */
  reserve(count: number, name: string): number {
    const first = this.#next;
    if (!Number.isInteger(count) || count < 0)
      throw new RangeError(`shared words are counted from 0, got ${String(count)}`);
    const left = WAITERS - first;
    if (count > left) throw new RangeError(`${String(count)} shared words where ${String(left)} are left`);
    // Entries of 64 bits stand at even cells.
    this.#next = first + count + (count & 1);
    this.#named.push({ first, count, name });
    return first;
  }

  /** Declares that accesses to a shared array may race. */
  allowRaces(array: ElementArray): void {
    this.#look(array);
    if (this.#lastBase < 0) throw new TypeError("racy: the array is not on shared memory");
    const range = { from: this.#lastBase, to: this.#lastBase + array.byteLength };
    this.#racyRanges.push(range);
    this.#racy.fill(1, range.from, range.to);
  }

  /** Whether accesses to a byte may race. */
  mayRace(byte: number): boolean {
    return this.#racy[byte] === 1;
  }

  /** What a cell is called: `head[0]`. */
  nameOf(cell: number): string {
    if (cell >= WAITERS) return `waiters of ${this.nameOf(cell - WAITERS)}`;
    const named = this.#named.findLast(({ first }) => first <= cell);
    if (named === undefined || cell >= named.first + named.count) return `thread ${String(cell)}`;
    return named.count === 1 ? named.name : `${named.name}[${String(cell - named.first)}]`;
  }

  /** A shared buffer that a program has just made. */
  buffer(made: SharedArrayBuffer): SharedArrayBuffer {
    this.#regionOf(made);
    return made;
  }

  /** Before an access to an element. Whether to yield. */
  at(site: number, array: unknown, index: unknown): boolean {
    const cell = this.#cellOf(array, index);
    if (cell < 0) return false;
    this.accesses++;
    SITES.spans[site] = this.#lastSize === 8 ? 2 : 1;
    const thread = SCHEDULER.current;
    this.#stale[thread] = this.#lastRegion;
    this.#staleFrom[thread] = cell;
    this.byteAt[thread] = this.#lastByte;
    this.bytesOf[thread] = this.#lastSize;
    return SCHEDULER.at(site, cell);
  }

  /** Before an operation of a lock or a thread. Whether to yield. */
  on(site: number, object: unknown): boolean {
    if (!(object instanceof Primitive)) return false;
    this.sync();
    this.accesses++;
    return SCHEDULER.on(site, object);
  }

  /** A point at which nothing is accessed. Whether to yield. */
  point(site: number): boolean {
    this.sync();
    return SCHEDULER.on(site, NOBODY);
  }

  /** `Atomics.wait`. */
  *wait(
    sites: WaitSites,
    array: Int32Array,
    index: number,
    expected: number,
    timeout?: number,
  ): Generator<undefined, "ok" | "not-equal" | "timed-out"> {
    const cell = this.#cellOf(array, index);
    // Not shared: that throws. Outside of an execution nobody could ever notify.
    if (cell < 0 || !this.isExecuting) return Atomics.wait(array, index, expected, cell < 0 ? timeout : 0);
    this.sync();
    this.accesses++;
    const waiters: SyncObject = { cell: cell + WAITERS };
    const thread = SCHEDULER.current;
    this.byteAt[thread] = this.#lastByte;
    this.bytesOf[thread] = this.#lastSize;
    if (SCHEDULER.on(sites[0], waiters, { cell })) yield;
    if (!isEqual(array, index, expected)) return "not-equal";
    const limit = timeout === undefined || Number.isNaN(timeout) ? Infinity : timeout;
    if (limit <= 0) return "timed-out";
    const waiter = { thread, cell };
    this.#waiters.push(waiter);
    this.#setWaits(waiter, true);
    if (limit < Infinity || this.#mayWakeByItself(thread)) {
      this.byteAt[thread] = waiters.cell << 2;
      this.bytesOf[thread] = 4;
      if (SCHEDULER.at(sites[2], waiters.cell)) yield;
    } else if (SCHEDULER.on(sites[1], waiters, { cell: FIRST_ZERO + thread })) yield;
    const place = this.#waiters.indexOf(waiter);
    if (place < 0) return "ok";
    this.#waiters.splice(place, 1);
    this.#setWaits(waiter, false);
    this.#wokenByThemselves[thread] = (this.#wokenByThemselves[thread] ?? 0) + 1;
    return limit < Infinity ? "timed-out" : "ok";
  }

  /** `Atomics.notify`: wakes in the order in which they have begun to wait. */
  *notify(site: number, array: Int32Array, index: number, count = Infinity): Generator<undefined, number> {
    const cell = this.#cellOf(array, index);
    if (cell < 0 || !this.isExecuting) return Atomics.notify(array, index, 0);
    this.sync();
    this.accesses++;
    if (SCHEDULER.on(site, { cell: cell + WAITERS })) yield;
    const woken = this.#waiters.filter((each) => each.cell === cell).slice(0, Math.max(0, count));
    for (const waiter of woken) {
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      this.#setWaits(waiter, false);
    }
    return woken.length;
  }

  /** What a pattern that may take elements out of an array looks up first. */
  readonly elements: symbol = Symbol("elements");

  /**
   * A value where nobody can wait for shared memory; throws UnseenAccessError when it is a shared array, or the buffer of
   * one if its method reads it.
   */
  unshared<Value>(value: Value, where: Where, isRead = false): Value {
    if (!this.isExecuting) return value;
    if (isSharedView(value)) this.#refuse(where, `accesses a shared array ${UNINTERRUPTED}`);
    if (isRead && value instanceof SharedArrayBuffer)
      this.#refuse(where, `reads a whole shared buffer ${UNINTERRUPTED}`);
    return value;
  }

  /**
   * What is given to a function that is not the program's own: `to` is that function, "builtin", or "library", which may
   * keep it. Throws UnseenAccessError when it is shared memory.
   */
  given<Value>(value: Value, where: Where, to: unknown): Value {
    const isView = isSharedView(value);
    if (!isView && !(value instanceof SharedArrayBuffer)) return value;
    if (typeof to === "function" ? !isNative(to) : typeof to !== "string") return value;
    // What JavaScript's own functions read of an array before there are threads is nobody else's.
    if (isView && !this.isExecuting && to !== "library") return value;
    return this.#refuse(
      where,
      `gives shared memory to a function outside of the explored modules, whose accesses would not be seen`,
    );
  }

  /** An object behind which others will reach it; throws UnseenAccessError when it is a shared array. */
  unhidden<Value>(value: Value, where: Where): Value {
    if (isSharedView(value))
      this.#refuse(where, "hides a shared array behind another object, where its accesses would not be seen");
    return value;
  }

  /** What a method of a primitive's name is called on, where nobody can wait; throws UnseenAccessError for a primitive. */
  unsynced<Value>(value: Value, where: Where): Value {
    if (this.isExecuting && value instanceof Primitive)
      this.#refuse(where, `operates on a lock or a thread ${UNINTERRUPTED}`);
    return value;
  }

  /** A function that reaches shared memory is called; its body must begin before anything else is. */
  called(name: string, where: string): string {
    if (!this.isExecuting) return "";
    this.checkCalls();
    this.#calledName = name;
    this.#calledAt = where;
    return "";
  }

  /** The body of the function that was called last begins. */
  begun(): void {
    this.#calledAt = "";
  }

  /** Throws UnseenAccessError if a function was called that nobody has run. */
  checkCalls(): void {
    if (this.#calledAt === "") return;
    const where = this.#calledAt;
    this.#calledAt = "";
    this.#refuse(where, `${this.#calledName} reaches shared memory and is called ${UNINTERRUPTED}`);
  }

  /** What a call returned where nobody can wait for a coroutine; throws UnseenAccessError when it is one. */
  alone<Value>(value: Value, where: Where): Value {
    if (SCHEDULER.isCoroutine(value))
      this.#refuse(where, `calls what reaches shared memory ${UNINTERRUPTED}`);
    return value;
  }

  /** The number that `++` begins with. */
  numeric(value: unknown): number | bigint {
    return typeof value === "bigint" ? value : Number(value);
  }

  /** The number that `++` ends with. */
  step(value: number | bigint, by: number): number | bigint {
    return typeof value === "bigint" ? value + BigInt(by) : value + by;
  }

  /** Brings the copy up to date with what the last access of the thread that runs did. */
  sync(): void {
    const thread = SCHEDULER.current;
    const region = this.#stale[thread];
    if (region === undefined) return;
    this.#stale[thread] = undefined;
    const cell = this.#staleFrom[thread] ?? 0;
    const from = (cell - region.base) << 2;
    this.#bytes.set(region.bytes.subarray(from, from + 8), cell << 2);
  }

  /** The cell of an element, -1 when it is nobody else's. */
  #cellOf(array: unknown, index: unknown): number {
    if (array !== this.#lastArray) this.#look(array);
    if (this.#lastBase < 0) return -1;
    const at = typeof index === "symbol" ? -1 : Number(index);
    if (!Number.isInteger(at) || at < 0 || at >= this.#lastLength) return -1;
    this.sync();
    this.#lastByte = this.#lastBase + at * this.#lastSize;
    return this.#lastByte >> 2;
  }

  #look(array: unknown): void {
    this.#lastArray = array;
    this.#lastBase = -1;
    if (!isElementArray(array)) return;
    const { buffer, byteOffset, length, BYTES_PER_ELEMENT } = array;
    if (!(buffer instanceof SharedArrayBuffer)) return;
    this.#lastRegion = buffer === this.view.buffer ? undefined : this.#regionOf(buffer);
    this.#lastBase = ((this.#lastRegion?.base ?? 0) << 2) + byteOffset;
    this.#lastLength = length;
    this.#lastSize = BYTES_PER_ELEMENT;
  }

  #regionOf(buffer: SharedArrayBuffer): Region {
    const known = this.#regions.get(buffer);
    if (known !== undefined) return known;
    const base = this.reserve((buffer.byteLength + 3) >> 2, "buffer");
    const bytes = new Uint8Array(buffer);
    const region = { base, bytes, initial: bytes.slice() };
    this.#regions.set(buffer, region);
    if (this.isExecuting) this.#copy(region);
    else this.#permanent.push(region);
    return region;
  }

  /** Not for ever: a loop around a wait would go round without end. */
  #mayWakeByItself(thread: number): boolean {
    return this.hasSpuriousWakeups && (this.#wokenByThemselves[thread] ?? 0) < SPURIOUS_WAKEUPS_MAX;
  }

  #refuse(where: Where, what: string): never {
    // What is refused first is the reason; what was called there has not begun either.
    this.#calledAt = "";
    this.refused ??= new UnseenAccessError(typeof where === "string" ? where : where(), what);
    throw this.refused;
  }

  #copy({ base, bytes }: Region): void {
    SCHEDULER.touch(base, (bytes.length + 3) >> 2);
    this.#bytes.set(bytes, base << 2);
  }

  #setWaits({ thread, cell }: Waiter, waits: boolean): void {
    const waiting = this.view[cell + WAITERS] ?? 0;
    this.view[cell + WAITERS] = waits ? waiting | (1 << thread) : waiting & ~(1 << thread);
  }
}

/** The one watch of this thread, by which rewritten modules know it. */
export const RAW: RawAccess = new RawAccess();
