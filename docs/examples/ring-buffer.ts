/**
 * A ring buffer for one producer and one consumer, and the program that checks it. The slot must be written before the
 * tail that shows it: exchange the two lines in `push`, and the explorer prints the interleaving in which the consumer
 * takes what is not there yet.
 */
import { cells, check, spawn } from "umbra";

const HEAD = 0;
const TAIL = 1;
const FIRST_SLOT = 2;

/** A ring over shared words. */
export class Ring {
  readonly #words: Int32Array;
  readonly #slots: number;

  constructor(words: Int32Array) {
    this.#words = words;
    this.#slots = words.length - FIRST_SLOT;
  }

  /** False when the ring is full. */
  push(value: number): boolean {
    const tail = Atomics.load(this.#words, TAIL);
    if (tail - Atomics.load(this.#words, HEAD) === this.#slots) return false;
    this.#words[FIRST_SLOT + (tail % this.#slots)] = value;
    Atomics.store(this.#words, TAIL, tail + 1);
    return true;
  }

  /** The oldest value, undefined when there is none. */
  shift(): number | undefined {
    const head = Atomics.load(this.#words, HEAD);
    if (head === Atomics.load(this.#words, TAIL)) return undefined;
    const value = this.#words[FIRST_SLOT + (head % this.#slots)];
    Atomics.store(this.#words, HEAD, head + 1);
    return value;
  }
}

/** What is pushed, and the number of slots. */
export interface Input {
  readonly values: readonly number[];
  readonly slots: number;
}

/** One thread pushes, another takes: what arrives is what was sent, in order, without a hole. */
export default function main({ values, slots }: Input): void {
  const ring = new Ring(cells(FIRST_SLOT + slots, "ring"));
  const taken: number[] = [];
  const producer = spawn(() => {
    for (const value of values) if (!ring.push(value)) break;
  }, "producer");
  const consumer = spawn(() => {
    for (let turn = 0; turn < values.length; turn++) {
      const value = ring.shift();
      if (value !== undefined) taken.push(value);
    }
  }, "consumer");
  producer.join();
  consumer.join();
  for (const [index, value] of taken.entries())
    check(
      value === values[index],
      `value ${String(index)} is ${String(value)} instead of ${String(values[index])}`,
    );
}
