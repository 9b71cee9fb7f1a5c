/** Random numbers of a search: mulberry32, the generator of the published calibration figures (concurrency 4.3). */

/** One stream. The same seed gives the same numbers on every computer. */
export class RandomStream {
  #state = 0;

  constructor(seed: number) {
    this.reseed(seed);
  }

  /** Begins again from a seed of 32 bits. */
  reseed(seed: number): void {
    this.#state = seed | 0;
  }

  /** 32 random bits, as an integer from 0 to 2^32 - 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** An integer from 0 to `bound` - 1; `bound` is at most 65,536. */
  below(bound: number): number {
    return Math.imul(this.next() >>> 16, bound) >>> 16;
  }

  /** A number from 0 to just below 1. */
  fraction(): number {
    return this.next() / 2 ** 32;
  }
}

/** The seed of a part of a search: each purpose and each iteration draws from a stream of its own. */
export function derivedSeed(seed: number, part: number): number {
  let mixed = Math.imul(seed ^ (part + 0x9e3779b9), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
