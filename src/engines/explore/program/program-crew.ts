/** The threads that explore one program, an exploration at a time; each has translated the module once. */
/* oxlint-disable no-await-in-loop -- a thread makes one part after another */
import { Worker } from "node:worker_threads";
import { RunError, UsageError } from "../../errors.ts";
import { ExploreCell } from "../explorer.ts";
import type { ExploreReport } from "../explorer.ts";
import { Watchdog, beginLoading, hungText, pulsesOf } from "../pulse.ts";
import { partsOf, samples } from "./parts.ts";
import type { Part } from "./parts.ts";
import type { ProgramAnswer, ProgramStudy, ProgramTask } from "./program-thread.ts";

/** An exploration, but for its parts. */
export interface CrewTask extends Pick<ProgramTask, "target" | "strategy" | "seed" | "schedule"> {
  readonly executions: number;
  readonly seconds: number | undefined;
  /** Threads; undefined: one, and one for each core when it takes long. */
  readonly workers: number | undefined;
  /** Threads at most, when `workers` does not say. */
  readonly cores: number;
  /** Seconds that a thread may be between two shared accesses. */
  readonly patience: number;
}

/** What came of a part. */
export interface PartReport {
  readonly report: ExploreReport;
  readonly failure: ProgramStudy | null;
}

const WORKER = new URL("../../../../workers/program-worker.ts", import.meta.url);
/** To translate a module again takes about as long as this. */
const LONG_MS = 1000;
const LOOK_MS = 50;
const TASK_CELLS = Object.keys(ExploreCell).length;

/** The threads of a program. */
export class ProgramCrew {
  readonly #url: string;
  readonly #threads: ProgramThread[] = [];
  #turn: Promise<unknown> = Promise.resolve();

  constructor(url: string) {
    this.#url = url;
  }

  /** What came of the parts that count, in order. One exploration after another. */
  explore(task: CrewTask): Promise<PartReport[]> {
    const exploring = this.#turn.then(() => new CrewRun(task, this).run());
    this.#turn = exploring.catch(() => undefined);
    return exploring;
  }

  /** The thread of a number, begun when it is first wanted. */
  thread(index: number): ProgramThread {
    return (this.#threads[index] ??= new ProgramThread(this.#url, index));
  }

  end(): void {
    void this.#turn.then(() => Promise.all(this.#threads.map((thread) => thread.end())));
  }
}

class CrewRun {
  readonly #task: CrewTask;
  readonly #crew: ProgramCrew;
  readonly #parts: Part[];
  readonly #done: (PartReport | undefined)[] = [];
  readonly #begun = new Set<number>();
  /** Cells of the parts under way. */
  readonly #cells = new Map<number, Int32Array>();
  /** The part that decides the result, or has no end yet. */
  #last = Infinity;
  #isOver = false;

  constructor(task: CrewTask, crew: ProgramCrew) {
    this.#task = task;
    this.#crew = crew;
    this.#parts = task.schedule === null ? partsOf(task.strategy, task.executions) : samples(0, 1);
  }

  async run(): Promise<PartReport[]> {
    const { seconds, executions } = this.#task;
    const timer = seconds === undefined ? undefined : setTimeout(() => this.#end(-1), 1000 * seconds);
    try {
      for (;;) {
        await this.#makeAll();
        const missing = executions - this.#executions();
        if (this.#last < Infinity || this.#isOver || missing <= 0 || this.#task.schedule !== null) break;
        // A search that found the program too large has left its share.
        const made = this.#parts.reduce(
          (most, { isSearch, to }) => (isSearch ? most : Math.max(most, to)),
          0,
        );
        const more = samples(made, made + missing);
        if (this.#task.strategy !== "portfolio") break;
        this.#parts.push(...more);
      }
    } finally {
      clearTimeout(timer);
    }
    return this.#done.slice(0, this.#last + 1).filter((each) => each !== undefined);
  }

  async #makeAll(): Promise<void> {
    const { workers, cores } = this.#task;
    const running = [this.#work(0)];
    const begin = (): void => {
      for (let thread = 1; thread < (workers ?? cores); thread++) {
        const work = this.#work(thread);
        // It is waited for below, perhaps after it has failed.
        work.catch(() => undefined);
        running.push(work);
      }
    };
    const timer = setTimeout(begin, workers === undefined ? LONG_MS : 0);
    try {
      for (let index = 0; index < running.length; index++) await running[index];
    } catch (error) {
      this.#end(-1);
      await Promise.allSettled(running);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #work(thread: number): Promise<void> {
    for (let index = this.#next(thread); index >= 0; index = this.#next(thread)) {
      const cells = new Int32Array(new SharedArrayBuffer(4 * TASK_CELLS));
      const part = this.#parts[index] ?? { isSearch: false, from: 0, to: 0 };
      cells[ExploreCell.next] = part.from;
      cells[ExploreCell.last] = part.to - 1;
      this.#cells.set(index, cells);
      const { target, strategy, seed, schedule, patience } = this.#task;
      const pulses = pulsesOf(1);
      beginLoading(pulses);
      const task = { target, strategy, seed, schedule, cells, part, pulses };
      const answer = await this.#crew.thread(thread).ask(task, patience);
      this.#cells.delete(index);
      if (answer.kind === "refused") throw new UsageError(answer.message);
      this.#done[index] = answer;
      const { failures, nondeterminism } = answer.report;
      if (failures.length > 0 || nondeterminism !== null || answer.isExhausted) this.#end(index);
    }
  }

  /** A part for a thread, -1 when there is none: parts of a search are the first one's. */
  #next(thread: number): number {
    if (this.#isOver) return -1;
    const index = this.#parts.findIndex(
      ({ isSearch }, at) => at < this.#last && !this.#begun.has(at) && (!isSearch || thread === 0),
    );
    if (index >= 0) this.#begun.add(index);
    return index;
  }

  /** What comes after a part does not matter any more; -1: time is up. */
  #end(index: number): void {
    if (index < 0) this.#isOver = true;
    else this.#last = Math.min(this.#last, index);
    for (const [part, cells] of this.#cells)
      if (index < 0 || part > this.#last) Atomics.store(cells, ExploreCell.over, 1);
  }

  #executions(): number {
    return this.#done.reduce((sum, each) => sum + (each?.report.executions ?? 0), 0);
  }
}

/** A worker that makes one part after another. */
class ProgramThread {
  readonly #worker: Worker;
  readonly #index: number;
  #died: Error | undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(url: string, index: number) {
    this.#index = index;
    this.#worker = new Worker(WORKER, {
      workerData: { url },
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    this.#worker.on("error", (error: Error) => {
      this.#died = error;
    });
    // A program that ends its thread, with process.exit say, answers nothing any more.
    this.#worker.on("exit", () => {
      this.#died ??= new RunError("the program ended its thread, with process.exit or because of an error");
      this.#reject(this.#died);
    });
    this.#worker.unref();
  }

  async ask(task: ProgramTask, patience: number): Promise<ProgramAnswer> {
    if (this.#died !== undefined) throw this.#died;
    this.#worker.ref();
    const { promise, resolve, reject } = Promise.withResolvers<ProgramAnswer>();
    this.#reject = reject;
    const watchdog = new Watchdog(task.pulses, patience);
    const timer = setInterval(() => {
      for (const hung of watchdog.look(performance.now())) {
        this.#died = new RunError(hungText({ ...hung, thread: this.#index }, task.seed, patience));
        reject(this.#died);
        void this.#worker.terminate();
      }
    }, LOOK_MS);
    this.#worker.once("message", resolve);
    this.#worker.once("error", reject);
    this.#worker.postMessage(task);
    try {
      return await promise;
    } finally {
      clearInterval(timer);
      this.#worker.off("message", resolve);
      this.#worker.off("error", reject);
      this.#worker.unref();
    }
  }

  end(): Promise<number> {
    return this.#worker.terminate();
  }
}
