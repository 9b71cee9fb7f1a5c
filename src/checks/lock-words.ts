/** The words of a machine's memory that say who holds a lock: owners of locks, parts of the paging lock, locks of pages. */
import { LockCell } from "../locks/lock-area.ts";
import { PageLockCell } from "../locks/page-lock.ts";
import { PartCell } from "../locks/parts.ts";
import { LOCK_NAMES, LOCK_WORDS, PAGE_LOCK_WORDS, PART_WORDS } from "../memory/layout.ts";
import type { Layout } from "../memory/layout.ts";

/** Bits of locks held, `1 << index` in `LOCK_NAMES`. */
export const PAGING_BIT: number = 1 << LOCK_NAMES.indexOf("paging");
/** The same of a part of it. */
export const PART_BIT: number = 1 << LOCK_NAMES.indexOf("paging in part");
/** The same of a frame's. */
export const FRAME_BIT: number = 1 << LOCK_NAMES.indexOf("frame");

const PART = LOCK_NAMES.indexOf("paging in part");
const TABLE = LOCK_NAMES.indexOf("table");
const FRAME = LOCK_NAMES.indexOf("frame");
const NONE = -1;

/** Where they lie. Each holds the number of its thread plus 1 while that thread holds the lock, 0 when it has let go. */
export class LockWords {
  readonly #locks: number;
  readonly #locksEnd: number;
  readonly #parts: number;
  readonly #partsEnd: number;
  readonly #pages: number;
  readonly #pagesEnd: number;

  constructor({ regions: { locks, parts, pageLocks } }: Layout) {
    this.#locks = locks.offset;
    this.#locksEnd = locks.offset + locks.words;
    this.#parts = parts.offset;
    this.#partsEnd = parts.offset + parts.words;
    this.#pages = pageLocks.offset;
    this.#pagesEnd = pageLocks.offset + pageLocks.words;
  }

  /** Index in `LOCK_NAMES` of the lock whose holder a cell names, -1 for any other cell. */
  lockAt(cell: number): number {
    if (cell < this.#locksEnd)
      return cell >= this.#locks && (cell - this.#locks) % LOCK_WORDS === LockCell.owner
        ? Math.floor((cell - this.#locks) / LOCK_WORDS)
        : NONE;
    if (cell >= this.#pages && cell < this.#pagesEnd) {
      const offset = (cell - this.#pages) % PAGE_LOCK_WORDS;
      if (offset === PageLockCell.table) return TABLE;
      return offset === PageLockCell.frame ? FRAME : NONE;
    }
    return cell >= this.#parts && cell < this.#partsEnd && (cell - this.#parts) % PART_WORDS === PartCell.held
      ? PART
      : NONE;
  }

  /** The frame whose lock a cell is that of a page. */
  frameAt(cell: number): number {
    return Math.floor((cell - this.#pages) / PAGE_LOCK_WORDS);
  }

  /** The thread whose part a cell of `parts` is, -1 for any other cell. */
  partAt(cell: number): number {
    return this.lockAt(cell) === PART ? Math.floor((cell - this.#parts) / PART_WORDS) : NONE;
  }
}

/** Which locks each thread holds, from what is written to such words. */
export class HoldersOfLocks {
  readonly #words: LockWords;
  readonly #view: Int32Array;
  readonly #bits: Int32Array;
  readonly #tables: Int32Array;
  readonly #frames: Int32Array;

  constructor(layout: Layout, view: Int32Array, threads: number) {
    this.#words = new LockWords(layout);
    this.#view = view;
    this.#bits = new Int32Array(threads);
    this.#tables = new Int32Array(threads).fill(NONE);
    this.#frames = new Int32Array(threads).fill(NONE);
  }

  /** Nobody holds anything. */
  begin(): void {
    this.#bits.fill(0);
    this.#tables.fill(NONE);
    this.#frames.fill(NONE);
  }

  /** A thread has written a cell. */
  written(thread: number, cell: number): void {
    const lock = this.#words.lockAt(cell);
    if (lock < 0) return;
    const has = this.#view[cell] === thread + 1;
    const others = (this.#bits[thread] ?? 0) & ~(1 << lock);
    this.#bits[thread] = has ? others | (1 << lock) : others;
    const frame = has ? this.#words.frameAt(cell) : NONE;
    if (lock === TABLE) this.#tables[thread] = frame;
    else if (lock === FRAME) this.#frames[thread] = frame;
  }

  /** Bits of the locks that a thread holds. */
  heldBy(thread: number): number {
    return this.#bits[thread] ?? 0;
  }

  /** The frame whose table lock a thread holds, -1 for none. */
  tableOf(thread: number): number {
    return this.#tables[thread] ?? NONE;
  }

  /** The frame whose frame lock a thread holds, -1 for none. */
  frameOf(thread: number): number {
    return this.#frames[thread] ?? NONE;
  }
}
