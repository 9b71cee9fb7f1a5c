/** Asks a thread, question by question. A thread that dies answers with what it died of. */
import { Worker } from "node:worker_threads";

/** A thread with load hooks of its own, which tests themselves cannot have. */
export class Conversation {
  readonly #worker: Worker;
  #died: Error | undefined;
  #settle: { resolve: (answer: unknown) => void; reject: (error: Error) => void } | undefined;

  constructor(file: URL, workerData: unknown = null) {
    this.#worker = new Worker(file, {
      execArgv: ["--disable-warning=ExperimentalWarning"],
      workerData,
    });
    this.#worker.on("message", (answer) => this.#settle?.resolve(answer));
    this.#worker.on("error", (error: Error) => {
      this.#died = error;
      this.#settle?.reject(error);
    });
  }

  /** The answer to a question; throws what is answered as a text. */
  async ask<Answer>(question: unknown): Promise<Answer> {
    if (this.#died !== undefined) throw this.#died;
    const answer = await new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#worker.postMessage(question);
    });
    if (typeof answer === "string") throw new Error(answer);
    return answer as Answer;
  }

  /** Ends the thread. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
