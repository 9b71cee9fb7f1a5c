/** Accesses of an execution of a user's program, by number: what the race detector remembers of each, for its reports. */
import { SITES } from "../../coroutine/sites.ts";
import { shortPath } from "../short-path.ts";

const SITE = 0;
const LOCKS = 1;
const BYTES = 2;
const BEFORE = 3;
const AFTER = 5;
const WORDS = 7;
const FIRST_ROWS = 256;

/** An access as a number: where it stands in the log, with its size in the low bits. */
const SIZE_BITS = 2;
/** The bits in which accesses of different sizes differ. */
export const SIZE_MASK: number = (1 << SIZE_BITS) - 1;

/** One access as it is made. */
export interface LoggedAccess {
  readonly site: number;
  /** Locks held: a number that `Lockings` gives. */
  readonly locks: number;
  readonly bytes: number;
  /** Values before and after; of less than 32 bits in the low half. */
  readonly before: readonly [low: number, high: number];
  readonly after: readonly [low: number, high: number];
}

/** The accesses of one execution. */
export class AccessLog {
  #rows = new Int32Array(FIRST_ROWS * WORDS);
  #count = 0;

  begin(): void {
    this.#count = 0;
  }

  /** Adds an access; its number. */
  note({ site, locks, bytes, before, after }: LoggedAccess): number {
    const at = this.#count * WORDS;
    if (at === this.#rows.length) this.#grow();
    this.#rows[at + SITE] = site;
    this.#rows[at + LOCKS] = locks;
    this.#rows[at + BYTES] = bytes;
    [this.#rows[at + BEFORE], this.#rows[at + BEFORE + 1]] = before;
    [this.#rows[at + AFTER], this.#rows[at + AFTER + 1]] = after;
    return (this.#count++ << SIZE_BITS) | Math.log2(bytes);
  }

  /** `ring-buffer.ts:30`. */
  place(access: number): string {
    const { file, line } = SITES.site(this.#word(access, SITE));
    return `${shortPath(file)}:${String(line)}`;
  }

  /** The function that it stands in. */
  within(access: number): string {
    return SITES.site(this.#word(access, SITE)).within;
  }

  /** Name of the access, for one of `Atomics`. */
  name(access: number): string {
    return SITES.site(this.#word(access, SITE)).name;
  }

  /** The locks held. */
  locks(access: number): number {
    return this.#word(access, LOCKS);
  }

  /** Bytes that it covers. */
  bytes(access: number): number {
    return this.#word(access, BYTES);
  }

  /** `0x0 → 0x1`, or the one value if nothing changed. */
  values(access: number): string {
    const before = this.#value(access, BEFORE);
    const after = this.#value(access, AFTER);
    return before === after ? before : `${before} → ${after}`;
  }

  #value(access: number, column: number): string {
    const low = (this.#word(access, column) >>> 0).toString(16);
    const high = (this.#word(access, column + 1) >>> 0).toString(16);
    return high === "0" ? `0x${low}` : `0x${high}${low.padStart(8, "0")}`;
  }

  #word(access: number, column: number): number {
    return this.#rows[(access >>> SIZE_BITS) * WORDS + column] ?? 0;
  }

  #grow(): void {
    const larger = new Int32Array(this.#rows.length * 2);
    larger.set(this.#rows);
    this.#rows = larger;
  }
}

/** Which locks a thread holds, as a number: equal sets that were taken in the same order have the same. */
export class Lockings {
  readonly #sets: (readonly number[])[] = [[]];
  readonly #held: Int32Array;

  constructor(threads: number) {
    this.#held = new Int32Array(threads);
  }

  begin(): void {
    this.#sets.length = 1;
    this.#held.fill(0);
  }

  /** What a thread holds. */
  of(thread: number): number {
    return this.#held[thread] ?? 0;
  }

  /** The cells of the locks of a number. */
  cells(locks: number): readonly number[] {
    return this.#sets[locks] ?? [];
  }

  /** A thread takes a lock. */
  take(thread: number, cell: number): void {
    this.#hold(thread, [...this.cells(this.of(thread)), cell]);
  }

  /** A thread gives a lock up. */
  give(thread: number, cell: number): void {
    this.#hold(
      thread,
      this.cells(this.of(thread)).filter((each) => each !== cell),
    );
  }

  #hold(thread: number, cells: readonly number[]): void {
    const text = cells.join();
    const known = this.#sets.findIndex((each) => each.join() === text);
    this.#held[thread] = known >= 0 ? known : this.#sets.push(cells) - 1;
  }
}
