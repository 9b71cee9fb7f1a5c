/** Workers that tests share which run at the same time. */

/** Each worker does one thing after another; who finds none idle waits for the next that is. */
export class Shared<Worker> {
  readonly #idle: Worker[];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  constructor(workers: readonly Worker[]) {
    this.#idle = [...workers];
  }

  /** What a worker answers. */
  async ask<Answer>(question: (worker: Worker) => Promise<Answer>): Promise<Answer> {
    const worker = this.#idle.pop() ?? (await new Promise<Worker>((resolve) => this.#waiting.push(resolve)));
    try {
      return await question(worker);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#idle.push(worker);
      else next(worker);
    }
  }
}
