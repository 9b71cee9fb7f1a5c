/**
 * Who waits for a change of what. A waiting thread watches two cells, the one that it waits on and its doorbell; threads
 * stand in a list for each cache line, so that a write costs no more than its line's watchers, and leave it in one step.
 */
import { LINE_SHIFT } from "./cache-lines.ts";

const NONE = 0;

/** The lists. A node is 1 + 2 * thread for its cell, one more for its doorbell. */
export class Watchers {
  /** First node of each line, 0 for none. */
  readonly heads: Int32Array;
  readonly #tails: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #lines: Int32Array;

  constructor(words: number, threads: number) {
    const lines = (words >>> LINE_SHIFT) + 1;
    this.heads = new Int32Array(lines);
    this.#tails = new Int32Array(lines);
    this.#next = new Int32Array(2 * threads + 1);
    this.#previous = new Int32Array(2 * threads + 1);
    this.#lines = new Int32Array(2 * threads + 1).fill(-1);
  }

  /** A thread begins to watch. `doorbell` is -1 when it has none. */
  watch(thread: number, cell: number, doorbell: number): void {
    this.#append(1 + 2 * thread, cell >>> LINE_SHIFT);
    if (doorbell >= 0 && doorbell !== cell) this.#append(2 + 2 * thread, doorbell >>> LINE_SHIFT);
  }

  /** A thread watches nothing any more. */
  unwatch(thread: number): void {
    this.#remove(1 + 2 * thread);
    this.#remove(2 + 2 * thread);
  }

  /** Thread of a node. */
  threadOf(node: number): number {
    return (node - 1) >> 1;
  }

  /** The node behind another in its list, 0 for none. */
  after(node: number): number {
    return this.#next[node] ?? NONE;
  }

  #append(node: number, line: number): void {
    const tail = this.#tails[line] ?? NONE;
    this.#lines[node] = line;
    this.#next[node] = NONE;
    this.#previous[node] = tail;
    if (tail === NONE) this.heads[line] = node;
    else this.#next[tail] = node;
    this.#tails[line] = node;
  }

  #remove(node: number): void {
    const line = this.#lines[node] ?? -1;
    if (line < 0) return;
    const next = this.#next[node] ?? NONE;
    const previous = this.#previous[node] ?? NONE;
    if (previous === NONE) this.heads[line] = next;
    else this.#next[previous] = next;
    if (next === NONE) this.#tails[line] = previous;
    else this.#previous[next] = previous;
    this.#lines[node] = -1;
  }
}
