/**
 * Threads in the order of their virtual times; of two with the same time, the one that came earlier. A key is time and
 * number of arrival in one double, so that an order is one comparison (concurrency pitfall 39).
 */

const ARRIVALS = 2 ** 22;

/** Later than any time. */
export const NEVER: number = 2 ** 31 - 1;

/** A heap of threads. A thread is in it at most once. */
export class EventHeap {
  readonly #keys: Float64Array;
  readonly #threads: Int32Array;
  #size = 0;
  #arrivals = 0;

  constructor(threadsMax: number) {
    this.#keys = new Float64Array(threadsMax + 1);
    this.#threads = new Int32Array(threadsMax + 1);
  }

  get size(): number {
    return this.#size;
  }

  /** Time of the earliest thread, `NEVER` when there is none. */
  earliest(): number {
    return this.#size === 0 ? NEVER : Math.floor((this.#keys[0] ?? 0) / ARRIVALS);
  }

  /** Adds a thread. */
  enter(thread: number, time: number): void {
    this.#siftUp(this.#size++, this.#keyOf(time), thread);
  }

  /** Takes the earliest thread out. There must be one. */
  take(): number {
    const first = this.#threads[0] ?? 0;
    const last = --this.#size;
    if (last > 0) this.#siftDown(this.#keys[last] ?? 0, this.#threads[last] ?? 0);
    return first;
  }

  /** Takes the earliest thread out and puts another in: cheaper than one after the other. There must be one. */
  exchange(thread: number, time: number): number {
    const first = this.#threads[0] ?? 0;
    this.#siftDown(this.#keyOf(time), thread);
    return first;
  }

  #keyOf(time: number): number {
    this.#arrivals = (this.#arrivals + 1) & (ARRIVALS - 1);
    return time * ARRIVALS + this.#arrivals;
  }

  #siftUp(from: number, key: number, thread: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#keys[parent] ?? 0;
      if (above <= key) break;
      this.#keys[at] = above;
      this.#threads[at] = this.#threads[parent] ?? 0;
      at = parent;
    }
    this.#keys[at] = key;
    this.#threads[at] = thread;
  }

  #siftDown(key: number, thread: number): void {
    const keys = this.#keys;
    const size = this.#size;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && (keys[child + 1] ?? 0) < (keys[child] ?? 0)) child++;
      const below = keys[child] ?? 0;
      if (below >= key) break;
      keys[at] = below;
      this.#threads[at] = this.#threads[child] ?? 0;
      at = child;
    }
    keys[at] = key;
    this.#threads[at] = thread;
  }
}
