/**
 * Happens-before race detection by vector clocks (concurrency 3.9, FastTrack in the form FT2): the last plain write of a
 * cell is an epoch; what reads and atomic accesses it has seen since stands by thread, with the same-epoch test in front.
 * It knows nothing of a scheduler: whoever binds it tells it of accesses, acquisitions and releases.
 */

/** Words of a cell's state: last plain write (clock, thread, what, value), then by thread, then what the cell publishes. */
const WRITE_CLOCK = 0;
const WRITE_THREAD = 1;
const WRITE_WHAT = 2;
const WRITE_VALUE = 3;
const BY_THREAD = 4;
/** By thread: clock, what and value of the last access of each sort. */
const PLAIN_READ = 0;
const ATOMIC_WRITE = 3;
const ATOMIC_READ = 6;
const THREAD_WORDS = 9;

/** One side of a race. */
export interface RaceSide {
  readonly thread: number;
  readonly isWrite: boolean;
  readonly isAtomic: boolean;
  /** Whatever the binding gave as `what` with the access. */
  readonly what: number;
  /** What the access wrote or read. */
  readonly value: number;
}

/** Two accesses to one cell, at least one plain and one a write, that nothing orders. */
export interface Race {
  readonly cell: number;
  readonly earlier: RaceSide;
  readonly later: RaceSide;
}

/** Follows the accesses of one execution. */
export class RaceDetector {
  readonly #threads: number;
  readonly #stride: number;
  readonly #published: number;
  /** Vector clocks of the threads, a row each. */
  readonly #clocks: Int32Array;
  /** Where a cell's state lies, 0 for nowhere yet. */
  readonly #slotOf: Int32Array;
  #state: Int32Array;
  #slots = 1;
  readonly #cells: number[] = [];

  /** For the cells of a memory and at most so many threads. */
  constructor(cells: number, threads: number) {
    this.#threads = threads;
    this.#published = BY_THREAD + threads * THREAD_WORDS;
    this.#stride = this.#published + threads;
    this.#clocks = new Int32Array(threads * threads);
    this.#slotOf = new Int32Array(cells);
    this.#state = new Int32Array(this.#stride * 1024);
  }

  /** A new execution begins: whatever was done before it is ordered before all of it. */
  begin(): void {
    for (const cell of this.#cells) this.#slotOf[cell] = 0;
    this.#cells.length = 0;
    this.#state.fill(0, 0, this.#slots * this.#stride);
    this.#slots = 1;
    this.#clocks.fill(0);
    for (let thread = 0; thread < this.#threads; thread++) this.#clocks[thread * this.#threads + thread] = 1;
  }

  /** A plain read; the race that it makes, if any. */
  read(thread: number, cell: number, what: number, value: number): Race | undefined {
    const slot = this.#slot(cell);
    const at = slot + BY_THREAD + thread * THREAD_WORDS + PLAIN_READ;
    const now = this.#now(thread);
    if (this.#state[at] === now) return undefined;
    const race =
      this.#afterPlainWrite(thread, cell, slot) ?? this.#afterAll(thread, cell, slot, ATOMIC_WRITE);
    this.#note(at, now, what, value);
    return race && this.#race(race, thread, false, false, what, value);
  }

  /** A plain write. */
  write(thread: number, cell: number, what: number, value: number): Race | undefined {
    const slot = this.#slot(cell);
    const now = this.#now(thread);
    const isSameEpoch = this.#state[slot] === now && this.#state[slot + WRITE_THREAD] === thread;
    const race =
      (isSameEpoch ? undefined : this.#afterPlainWrite(thread, cell, slot)) ??
      this.#afterAll(thread, cell, slot, PLAIN_READ) ??
      this.#afterAll(thread, cell, slot, ATOMIC_WRITE) ??
      this.#afterAll(thread, cell, slot, ATOMIC_READ);
    this.#state[slot + WRITE_CLOCK] = now;
    this.#state[slot + WRITE_THREAD] = thread;
    this.#state[slot + WRITE_WHAT] = what;
    this.#state[slot + WRITE_VALUE] = value;
    return race && this.#race(race, thread, true, false, what, value);
  }

  /** An atomic access; one that reads and writes counts as a write. */
  atomic(thread: number, cell: number, isWrite: boolean, what: number, value: number): Race | undefined {
    const slot = this.#slot(cell);
    const race =
      this.#afterPlainWrite(thread, cell, slot) ??
      (isWrite ? this.#afterAll(thread, cell, slot, PLAIN_READ) : undefined);
    const sort = isWrite ? ATOMIC_WRITE : ATOMIC_READ;
    this.#note(slot + BY_THREAD + thread * THREAD_WORDS + sort, this.#now(thread), what, value);
    return race && this.#race(race, thread, isWrite, true, what, value);
  }

  /**
   * The race of an atomic access with atomic ones of other threads that differ from it in some bits of `what`, their size:
   * such accesses are in no order (ECMAScript memory model). To be asked before `acquire`.
   */
  mixed(thread: number, cell: number, isWrite: boolean, what: number, mask: number): Race | undefined {
    const slot = this.#slot(cell);
    const row = thread * this.#threads;
    for (const sort of isWrite ? [ATOMIC_WRITE, ATOMIC_READ] : [ATOMIC_WRITE])
      for (let other = 0; other < this.#threads; other++) {
        const at = slot + BY_THREAD + other * THREAD_WORDS + sort;
        const theirs = this.#state[at + 1] ?? 0;
        if ((this.#state[at] ?? 0) <= (this.#clocks[row + other] ?? 0)) continue;
        if (((theirs ^ what) & mask) === 0) continue;
        const value = this.#state[at + 2] ?? 0;
        const side = { thread: other, isWrite: sort === ATOMIC_WRITE, isAtomic: true, what: theirs, value };
        return this.#race({ cell, earlier: side }, thread, isWrite, true, what, value);
      }
    return undefined;
  }

  /** What the cell publishes is known to the thread from now on. */
  acquire(thread: number, cell: number): void {
    const from = this.#slot(cell) + this.#published;
    const row = thread * this.#threads;
    for (let other = 0; other < this.#threads; other++) {
      const clock = this.#state[from + other] ?? 0;
      if (clock > (this.#clocks[row + other] ?? 0)) this.#clocks[row + other] = clock;
    }
  }

  /** The cell publishes what the thread knows; with `joins` it goes on publishing what it did, as an update does. */
  release(thread: number, cell: number, joins: boolean): void {
    const to = this.#slot(cell) + this.#published;
    const row = thread * this.#threads;
    for (let other = 0; other < this.#threads; other++) {
      const clock = this.#clocks[row + other] ?? 0;
      if (!joins || clock > (this.#state[to + other] ?? 0)) this.#state[to + other] = clock;
    }
    this.#clocks[row + thread] = (this.#clocks[row + thread] ?? 0) + 1;
  }

  /** A thread begins another, or waits for its end: one knows what the other does. */
  follow(thread: number, after: number): void {
    const [row, from] = [thread * this.#threads, after * this.#threads];
    for (let other = 0; other < this.#threads; other++) {
      const clock = this.#clocks[from + other] ?? 0;
      if (clock > (this.#clocks[row + other] ?? 0)) this.#clocks[row + other] = clock;
    }
    this.#clocks[from + after] = (this.#clocks[from + after] ?? 0) + 1;
  }

  /** A cell that nobody has accessed by itself has the history of another: a part of it, say. */
  inherit(cell: number, from: number): void {
    if (!this.knows(from)) return;
    const to = this.#slot(cell);
    const source = this.#slot(from);
    this.#state.copyWithin(to, source, source + this.#stride);
  }

  /** Whether anybody has accessed a cell in this execution. */
  knows(cell: number): boolean {
    return this.#slotOf[cell] !== 0;
  }

  #now(thread: number): number {
    return this.#clocks[thread * this.#threads + thread] ?? 0;
  }

  #slot(cell: number): number {
    const known = this.#slotOf[cell] ?? 0;
    if (known !== 0) return known * this.#stride;
    const slot = this.#slots++;
    if (this.#slots * this.#stride > this.#state.length) this.#grow();
    this.#slotOf[cell] = slot;
    this.#cells.push(cell);
    return slot * this.#stride;
  }

  #grow(): void {
    const larger = new Int32Array(this.#state.length * 2);
    larger.set(this.#state);
    this.#state = larger;
  }

  #note(at: number, now: number, what: number, value: number): void {
    this.#state[at] = now;
    this.#state[at + 1] = what;
    this.#state[at + 2] = value;
  }

  #afterPlainWrite(thread: number, cell: number, slot: number): Omit<Race, "later"> | undefined {
    const clock = this.#state[slot] ?? 0;
    const writer = this.#state[slot + WRITE_THREAD] ?? 0;
    if (clock <= (this.#clocks[thread * this.#threads + writer] ?? 0)) return undefined;
    const what = this.#state[slot + WRITE_WHAT] ?? 0;
    const value = this.#state[slot + WRITE_VALUE] ?? 0;
    return { cell, earlier: { thread: writer, isWrite: true, isAtomic: false, what, value } };
  }

  #afterAll(thread: number, cell: number, slot: number, sort: number): Omit<Race, "later"> | undefined {
    const row = thread * this.#threads;
    for (let other = 0; other < this.#threads; other++) {
      const at = slot + BY_THREAD + other * THREAD_WORDS + sort;
      if ((this.#state[at] ?? 0) <= (this.#clocks[row + other] ?? 0)) continue;
      const what = this.#state[at + 1] ?? 0;
      const value = this.#state[at + 2] ?? 0;
      const side = { thread: other, isWrite: sort === ATOMIC_WRITE, isAtomic: sort !== PLAIN_READ };
      return { cell, earlier: { ...side, what, value } };
    }
    return undefined;
  }

  #race(
    found: Omit<Race, "later">,
    thread: number,
    isWrite: boolean,
    isAtomic: boolean,
    what: number,
    value: number,
  ): Race {
    return { ...found, later: { thread, isWrite, isAtomic, what, value } };
  }
}
