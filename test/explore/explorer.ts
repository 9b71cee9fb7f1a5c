/** A worker thread that explores: load hooks see its modules, which those of a test they do not. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { GuestFormat } from "../../src/guest/scenario.ts";
import type { MachineConfig } from "../../src/hypervisor/machine-config.ts";

/** What to execute. */
export interface RunRequest {
  readonly scenario: string;
  /** Name of a planted fault, left out for the model as it is. */
  readonly fault?: string;
  readonly checks: readonly string[];
  readonly executions: number;
  /** Rounds of each program, 1 when left out. */
  readonly rounds?: number;
  readonly seed: number;
  /** End at the first failure, or at the first whose key begins with `finds`. */
  readonly untilFailure: boolean;
  readonly finds?: string;
  readonly machine?: Partial<MachineConfig>;
  /** The guest's format; the scenario's first when left out. */
  readonly format?: GuestFormat;
  /** Cells whose declarations the race detector shall not know: region and name. */
  readonly undeclared?: { readonly region: "domain" | "records" | "vcpus" | "locks"; readonly cell: string };
}

/** A small program to execute, by the name under which `planted/programs.ts` exports it. */
export interface ProgramRequest {
  readonly program: string;
  readonly executions: number;
  readonly seed: number;
}

/** What came of it. */
export interface RunResult {
  executions: number;
  failed: number;
  points: number;
  /** Executions in which the shadow pool was short of pages. */
  shortages: number;
  /** The first message of each kind of failure. */
  readonly found: Record<string, string>;
}

/** One worker; requests are served one after the other. */
export class Explorer {
  readonly #worker = new Worker(new URL("scenario-runner.ts", import.meta.url), {
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });

  /** Executes. Throws what the worker threw. */
  async run(request: RunRequest | ProgramRequest): Promise<RunResult> {
    const reply = once(this.#worker, "message");
    this.#worker.postMessage(request);
    const [result] = (await reply) as [RunResult | { readonly error: string }];
    if ("error" in result) throw new Error(result.error);
    return result;
  }

  /** Ends the worker. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
