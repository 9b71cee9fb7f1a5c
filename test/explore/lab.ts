/** Programs under strategies, for tests: `program-lab.ts` on a thread of its own. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { LAB } from "./program-lab.ts";

type Lab = typeof LAB;

/** One thread with all programs loaded; tests of a file share it. */
export class LabThread {
  readonly #worker = new Worker(new URL("program-worker.ts", import.meta.url), {
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });

  /** What a function of the lab returns. One question at a time. */
  async ask<Name extends keyof Lab>(
    name: Name,
    given: Parameters<Lab[Name]>[0],
  ): Promise<ReturnType<Lab[Name]>> {
    this.#worker.postMessage({ name, given });
    const [reply] = (await once(this.#worker, "message")) as [
      { answer: ReturnType<Lab[Name]>; error?: Error },
    ];
    if (reply.error !== undefined) throw reply.error;
    return reply.answer;
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
