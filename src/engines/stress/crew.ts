/** The worker threads of a run: a Piscina pool with exactly one thread for each vCPU, and one for a toolstack. */
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";
import { Piscina } from "piscina";
import type { Finding } from "../../machine/vcpu.ts";
import { firstLine } from "../usage.ts";
import type { FindingMessage, MemberReport, MemberTask } from "./member.ts";

const WORKER = fileURLToPath(new URL("../../../workers/vcpu-worker.ts", import.meta.url));

/** One worker's part in one run, as the main thread sees it. */
export interface Member {
  readonly task: MemberTask;
  /** What it reported; undefined while it has not. */
  report: MemberReport | undefined;
  /** Why it will never report; undefined if it may. */
  lost: string | undefined;
  readonly terminate: AbortController;
}

/** A pool of so many workers, for one run after another. */
export class Crew {
  readonly #pool: Piscina<MemberTask, MemberReport>;
  readonly #findings = new Map<number, Finding[]>();
  #runs = 0;

  constructor(size: number) {
    this.#pool = new Piscina<MemberTask, MemberReport>({
      filename: WORKER,
      minThreads: size,
      maxThreads: size,
    });
    // A worker that is lost at rest has no task that could say so; it is replaced.
    this.#pool.on("error", () => undefined);
    this.#pool.on("message", (message: FindingMessage) => {
      this.#findings.get(message.run)?.push(message.finding);
    });
  }

  /** The threads themselves. */
  get threads(): readonly Worker[] {
    return this.#pool.threads;
  }

  /** Starts every task on a worker of its own. */
  start(tasks: readonly Omit<MemberTask, "run">[]): {
    members: readonly Member[];
    findings: readonly Finding[];
  } {
    const run = this.#runs++;
    const findings: Finding[] = [];
    this.#findings.clear();
    this.#findings.set(run, findings);
    const members = tasks.map((task) => this.#employ({ ...task, run }));
    return { members, findings };
  }

  /** Ends all threads, whatever they are at. */
  async dismiss(): Promise<void> {
    await this.#pool.destroy();
  }

  #employ(task: MemberTask): Member {
    const member: Member = { task, report: undefined, lost: undefined, terminate: new AbortController() };
    void this.#follow(member);
    return member;
  }

  async #follow(member: Member): Promise<void> {
    const { signal } = member.terminate;
    try {
      member.report = await this.#pool.run(member.task, { signal });
    } catch (error) {
      member.lost = signal.aborted ? "it was terminated" : firstLine(error);
    }
  }
}
