/** Tells the time during which vCPUs ran from the time during which they were parked. */
export class Stopwatch {
  #isRunning = false;
  #since = 0;
  #runMs = 0;
  #parkedMs = 0;

  /** From now on they run. */
  run(): void {
    this.#turn(true);
  }

  /** From now on they are parked, or being parked. */
  park(): void {
    this.#turn(false);
  }

  /** Milliseconds since they began to run; 0 while they do not. */
  sinceRun(): number {
    return this.#isRunning ? performance.now() - this.#since : 0;
  }

  /** Milliseconds since they were told to park; 0 while they run. */
  sincePark(): number {
    return this.#isRunning ? 0 : performance.now() - this.#since;
  }

  /** Seconds of running so far, without the time since the last turn. */
  get runSeconds(): number {
    return this.#runMs / 1000;
  }

  /** Seconds of parking so far, without the time since the last turn. */
  get parkedSeconds(): number {
    return this.#parkedMs / 1000;
  }

  #turn(isRunning: boolean): void {
    const now = performance.now();
    if (this.#since !== 0) {
      if (this.#isRunning) this.#runMs += now - this.#since;
      else this.#parkedMs += now - this.#since;
    }
    this.#isRunning = isRunning;
    this.#since = now;
  }
}
