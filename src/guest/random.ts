/** The random numbers of guest programs: xorshift32, one generator a vCPU, so that a run's seed repeats them all. */

/** A stream of random numbers. */
export class Random {
  #state: number;

  constructor(seed: number, stream: number) {
    // Two rounds of a mixing function, so that neighbouring seeds and streams have nothing in common.
    this.#state = mix(mix(seed | 0) + Math.imul(stream + 1, 0x9e3779b9)) || 1;
  }

  /** The next 32 random bits, as a signed number. */
  bits(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state;
  }

  /** A number from 0 to `bound` - 1; 0 when there is no such number. */
  below(bound: number): number {
    return bound <= 1 ? 0 : (this.bits() >>> 0) % bound;
  }
}

/** The finaliser of MurmurHash3. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
