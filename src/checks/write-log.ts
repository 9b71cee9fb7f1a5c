/** What machine frames held before each write of an execution: the values that a stale translation can come from. */

const GRANULE_WORDS = 3;
/** In place of a step: still written by thread 0; less the number of any other. */
const UNFINISHED = 0x7fff_ffff;
const THREADS = 32;

/** Entries of a page: what each cell held, newest first. */
export class WriteLog {
  /** Cell, step and old value of each word written, in order. */
  #log = new Int32Array(GRANULE_WORDS << 12);
  #length = 0;
  /** Of each thread, where in the log the hold at hand began to write, -1 when it has not. */
  readonly #holdFrom = new Int32Array(THREADS).fill(-1);
  readonly #words: Int32Array;

  constructor(words: Int32Array) {
    this.#words = words;
  }

  /** A new execution begins. */
  begin(): void {
    this.#length = 0;
    this.#holdFrom.fill(-1);
  }

  /** A word is about to be written. By a `holder` of the lock, what it held counts as there until that thread lets go. */
  note(cell: number, step: number, holder = -1): void {
    if (this.#length + GRANULE_WORDS > this.#log.length) this.#grow();
    const at = this.#length;
    this.#log[at] = cell;
    this.#log[at + 1] = holder < 0 ? step : UNFINISHED - holder;
    if (holder >= 0 && (this.#holdFrom[holder] ?? 0) < 0) this.#holdFrom[holder] = at;
    this.#log[at + 2] = this.#words[cell] ?? 0;
    this.#length = at + GRANULE_WORDS;
  }

  /** A thread lets the lock go under which it wrote words. */
  released(holder: number, step: number): void {
    const from = this.#holdFrom[holder] ?? -1;
    if (from < 0) return;
    for (let at = from; at < this.#length; at += GRANULE_WORDS)
      if (this.#log[at + 1] === UNFINISHED - holder) this.#log[at + 1] = step;
    this.#holdFrom[holder] = -1;
  }

  /**
   * Visits what an entry of `words` words at `cell` held at any time since `step`, newest first, until a visit answers
   * true; whether one did.
   */
  some(cell: number, words: number, since: number, visit: (low: number, high: number) => boolean): boolean {
    let low = this.#words[cell] ?? 0;
    let high = words === 2 ? (this.#words[cell + 1] ?? 0) : 0;
    if (visit(low, high)) return true;
    for (let at = this.#length - GRANULE_WORDS; at >= 0; at -= GRANULE_WORDS) {
      const step = this.#log[at + 1] ?? 0;
      const written = this.#log[at] ?? 0;
      if (written !== cell && (words === 1 || written !== cell + 1)) continue;
      if (step <= since) return false;
      if (written === cell) low = this.#log[at + 2] ?? 0;
      else high = this.#log[at + 2] ?? 0;
      // Both halves of one write change at once.
      const isHalf = at > 0 && this.#log[at - 2] === step && ((this.#log[at - 3] ?? 0) | 1) === (written | 1);
      if (isHalf && words === 2) continue;
      if (visit(low, high)) return true;
    }
    return false;
  }

  #grow(): void {
    const larger = new Int32Array(this.#log.length * 2);
    larger.set(this.#log);
    this.#log = larger;
  }
}
