/**
 * Signs of life. A thread that explores cannot be asked anything while code of a program runs between two scheduling
 * points; a loop without a shared access never comes to the next one. So it beats, now and then, in memory that the main
 * thread looks at.
 */

import { SCHEDULER } from "./scheduler.ts";

/** Seconds without a beat after which a thread is given up, unless said otherwise. */
export const PATIENCE_SECONDS = 30;

const WORDS = 2;
const BEATS = 0;
const ITERATION = 1;
/** Time that passes unseen, when a computer sleeps say, is nobody's fault. */
const LOOK_SECONDS_MAX = 1;

/** Memory for the pulses of some threads. */
export function pulsesOf(threads: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * WORDS * threads));
}

/** Of a thread that loads its program. */
const LOADING = -1;

/** The first thread is waited for from now on, before its first execution: it loads a program. */
export function beginLoading(pulses: Int32Array): void {
  new Pulse(pulses, 0).begin(LOADING);
}

/** The pulse of one thread. */
export class Pulse {
  readonly #pulses: Int32Array;
  readonly #at: number;

  constructor(pulses: Int32Array, thread: number) {
    this.#pulses = pulses;
    this.#at = thread * WORDS;
  }

  /** An execution begins. */
  begin(iteration: number): void {
    Atomics.store(this.#pulses, this.#at + ITERATION, iteration);
    this.beat();
  }

  beat(): void {
    const beats = Atomics.load(this.#pulses, this.#at + BEATS);
    Atomics.store(this.#pulses, this.#at + BEATS, (beats % 0x3fff_ffff) + 1);
  }

  /** The thread has nothing to do any more, and is not waited for. */
  end(): void {
    Atomics.store(this.#pulses, this.#at + BEATS, 0);
  }
}

/** What is done meanwhile, from an execution on, beats. */
export function withPulse<Result>(pulse: Pulse, work: () => Result, iteration = 0): Result {
  SCHEDULER.pulse = pulse;
  pulse.begin(iteration);
  try {
    return work();
  } finally {
    SCHEDULER.pulse = null;
    pulse.end();
  }
}

/** A thread that does not come to its next scheduling point. */
export interface Hung {
  readonly thread: number;
  readonly iteration: number;
}

/** Looks at pulses, often. */
export class Watchdog {
  readonly #pulses: Int32Array;
  readonly #patience: number;
  readonly #seen: Int32Array;
  readonly #silent: Float64Array;
  #lookedAt: number | null = null;

  constructor(pulses: Int32Array, patience: number) {
    this.#pulses = pulses;
    this.#patience = patience;
    this.#seen = new Int32Array(pulses.length / WORDS);
    this.#silent = new Float64Array(pulses.length / WORDS);
  }

  /** The threads that have been silent for too long, at a time in milliseconds; each is told once. */
  look(now: number): Hung[] {
    const passed = Math.min((now - (this.#lookedAt ?? now)) / 1000, LOOK_SECONDS_MAX);
    this.#lookedAt = now;
    const hung: Hung[] = [];
    for (const thread of this.#seen.keys()) {
      const beats = Atomics.load(this.#pulses, thread * WORDS + BEATS);
      const before = this.#silent[thread] ?? 0;
      const isSilent = beats !== 0 && beats === this.#seen[thread];
      const silent = isSilent ? before + passed : 0;
      this.#silent[thread] = silent;
      this.#seen[thread] = beats;
      if (before <= this.#patience && silent > this.#patience)
        hung.push({ thread, iteration: Atomics.load(this.#pulses, thread * WORDS + ITERATION) });
    }
    return hung;
  }
}

/** What is said of a thread that hangs. */
export function hungText({ thread, iteration }: Hung, seed: number, patience: number): string {
  if (iteration === LOADING)
    return `the module was not loaded in ${String(patience)} s: a loop at its top level, or an await, has no end`;
  return (
    `worker ${String(thread)} hangs: execution ${String(iteration)} of seed ${String(seed)} came to no shared access ` +
    `for ${String(patience)} s; a loop without one cannot be scheduled`
  );
}
