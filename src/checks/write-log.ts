/** What machine frames held before each write of an execution: the values that a stale translation can come from. */

const GRANULE_WORDS = 3;

/** Entries of a page: what each cell held, newest first. */
export class WriteLog {
  /** Cell, step and old value of each word written, in order. */
  #log = new Int32Array(GRANULE_WORDS << 12);
  #length = 0;
  readonly #words: Int32Array;

  constructor(words: Int32Array) {
    this.#words = words;
  }

  /** A new execution begins. */
  begin(): void {
    this.#length = 0;
  }

  /** A word is about to be written. */
  note(cell: number, step: number): void {
    if (this.#length + GRANULE_WORDS > this.#log.length) this.#grow();
    const at = this.#length;
    this.#log[at] = cell;
    this.#log[at + 1] = step;
    this.#log[at + 2] = this.#words[cell] ?? 0;
    this.#length = at + GRANULE_WORDS;
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
      if (step <= since) return false;
      const written = this.#log[at] ?? 0;
      if (written === cell) low = this.#log[at + 2] ?? 0;
      else if (words === 2 && written === cell + 1) high = this.#log[at + 2] ?? 0;
      else continue;
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
