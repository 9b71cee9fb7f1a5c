/**
 * One replay: a worker thread for each recorded CPU, in turns. The main thread never blocks: it polls, so that Ctrl-C
 * and lost workers are noticed whatever the vCPUs do.
 */
/* oxlint-disable no-await-in-loop -- these loops poll: one look comes after another */
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";
import { Piscina } from "piscina";
import { TurnCell } from "../../guest/trace/turns.ts";
import type { ReplayOrder } from "../../guest/trace/turns.ts";
import type { Machine } from "../../hypervisor/machine.ts";
import { vcpuId } from "../../memory/units.ts";
import { Doorbell, vcpuArea } from "../../memory/vcpu-area.ts";
import { ring } from "../../memory/wait.ts";
import type { VerifyOutcome } from "../../report/types.ts";
import { firstLine } from "../usage.ts";
import type { LoadedTrace } from "./load-trace.ts";
import type { ReplayOutcome } from "./outcome.ts";
import type { ReplayTask } from "./replay-vcpu.ts";
import { Watch } from "./watch.ts";

const WORKER = fileURLToPath(new URL("../../../workers/replay-worker.ts", import.meta.url));
const WATCHDOG_SECONDS = 20;
const START_SECONDS = 60;
const TICK_MS = 10;
/** Workers that were told to stop get this long; those that hang are not expected to hear it. */
const STOP_SECONDS = 5;
const HANGING_STOP_SECONDS = 0.5;

/** What a replay may be told and asked while it runs. */
export interface ReplayHooks {
  /** Aborted when the replay shall end early; its reason is the name of a signal. */
  readonly interruption?: AbortSignal | undefined;
  /** Told now and then what part of the replay is over, 0 to 1. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
  /** Told the threads once they have been started. */
  readonly onWorkers?: ((threads: readonly Worker[]) => void) | undefined;
  /** After so many seconds without any progress the replay is stuck. */
  readonly watchdogSeconds?: number | undefined;
  /** Where the threads keep what each access came to (`ModeAnswers`). */
  readonly answers?: SharedArrayBuffer | undefined;
  /** The module that a vCPU's thread runs, and the name of its export, in place of our own. */
  readonly worker?: { readonly file: string; readonly name: string } | undefined;
}

/** What a replay came to. */
export interface ReplayEnd {
  readonly outcome: VerifyOutcome;
  readonly reason: string | null;
  readonly signal: string | null;
  readonly seconds: number;
  /** What the vCPUs' threads reported; those that were lost reported nothing. */
  readonly outcomes: readonly ReplayOutcome[];
}

type ReplayPool = Piscina<ReplayTask, ReplayOutcome>;

/** One vCPU's thread, as the main thread sees it. */
interface Member {
  readonly vcpu: number;
  outcome: ReplayOutcome | undefined;
  /** Why it will never report; undefined if it may. */
  lost: string | undefined;
}

/** Replays a trace on a machine that nothing has run on yet. */
export async function runReplay(
  machine: Machine,
  trace: LoadedTrace,
  order: ReplayOrder,
  hooks: ReplayHooks,
): Promise<ReplayEnd> {
  const { file, name } = hooks.worker ?? { file: WORKER, name: "default" };
  const pool = new Piscina<ReplayTask, ReplayOutcome>({
    filename: file,
    name,
    minThreads: trace.cpus,
    maxThreads: trace.cpus,
  });
  // A worker that is lost has a task that says so.
  pool.on("error", () => undefined);
  try {
    const members = employ(pool, machine, trace, { order, answers: hooks.answers });
    hooks.onWorkers?.(pool.threads);
    return await new ReplayRun(machine, trace, members, hooks).toItsEnd();
  } finally {
    await pool.destroy();
  }
}

function employ(
  pool: ReplayPool,
  machine: Machine,
  trace: LoadedTrace,
  common: Pick<ReplayTask, "order" | "answers">,
): Member[] {
  const { bytes, ramBytes, cpus } = trace;
  return Array.from({ length: cpus }, (_, vcpu) => {
    const member: Member = { vcpu, outcome: undefined, lost: undefined };
    const task: ReplayTask = { machine: machine.handle, trace: { bytes, ramBytes, cpus }, ...common, vcpu };
    void report(pool, task, member);
    return member;
  });
}

/** Runs one vCPU, and notes its end. Never fails. */
async function report(pool: ReplayPool, task: ReplayTask, member: Member): Promise<void> {
  try {
    member.outcome = await pool.run(task);
  } catch (error) {
    member.lost = firstLine(error);
  }
}

class ReplayRun {
  readonly #machine: Machine;
  readonly #records: number;
  readonly #members: readonly Member[];
  readonly #hooks: ReplayHooks;
  readonly #watch: Watch;
  readonly #began = performance.now();
  #outcome: VerifyOutcome = "completed";
  #reason: string | null = null;

  constructor(machine: Machine, trace: LoadedTrace, members: readonly Member[], hooks: ReplayHooks) {
    this.#machine = machine;
    this.#records = trace.records;
    this.#members = members;
    this.#hooks = hooks;
    this.#watch = new Watch(machine);
  }

  async toItsEnd(): Promise<ReplayEnd> {
    while (!this.#haveAllEnded() && !this.#mustEnd()) await this.#tick();
    // A vCPU that came to an early end, or to none, leaves others waiting for their turn.
    if (!this.#haveAllEnded()) {
      this.#stop();
      const patience = this.#outcome === "stuck" ? HANGING_STOP_SECONDS : STOP_SECONDS;
      const until = performance.now() + patience * 1000;
      while (!this.#haveAllEnded() && performance.now() < until) await pause(TICK_MS);
    }
    const outcomes = this.#members.flatMap(({ outcome }) => (outcome === undefined ? [] : [outcome]));
    if (this.#outcome === "completed" && outcomes.some(({ isFinished }) => !isFinished)) {
      this.#end("stopped", "the machine stopped before the trace was over");
    }
    const { interruption } = this.#hooks;
    return {
      outcome: this.#outcome,
      reason: this.#reason,
      signal: this.#outcome === "interrupted" ? String(interruption?.reason) : null,
      seconds: (performance.now() - this.#began) / 1000,
      outcomes,
    };
  }

  async #tick(): Promise<void> {
    await pause(TICK_MS);
    this.#watch.sample();
    const { memory, layout } = this.#machine;
    const done = memory.loadWord(layout.regions.control.offset + TurnCell.done);
    this.#hooks.onProgress?.(Math.min(1, done / this.#records));
  }

  #mustEnd(): boolean {
    if (this.#hooks.interruption?.aborted === true) {
      this.#end("interrupted", "the replay was interrupted");
      return true;
    }
    const lost = this.#members.find((member) => member.lost !== undefined);
    if (lost !== undefined) {
      this.#end("worker-died", `the thread of vCPU ${lost.vcpu} ended: ${lost.lost ?? ""}`);
      return true;
    }
    if (!this.#watch.haveAllStarted && performance.now() - this.#began > START_SECONDS * 1000) {
      this.#end("stuck", `not all threads had started after ${START_SECONDS} s`);
      return true;
    }
    const still = this.#watch.stillSeconds();
    if (still >= (this.#hooks.watchdogSeconds ?? WATCHDOG_SECONDS)) {
      this.#end("stuck", `no vCPU has moved for ${still.toFixed(1)} s: ${this.#watch.describe()}`);
      return true;
    }
    return this.#members.some(({ outcome }) => outcome?.isFinished === false);
  }

  #end(outcome: VerifyOutcome, reason: string): void {
    this.#outcome = outcome;
    this.#reason = reason;
  }

  #stop(): void {
    const { memory, layout } = this.#machine;
    const cell = layout.regions.control.offset + TurnCell.stop;
    memory.storeWord(cell, 1);
    for (const { vcpu } of this.#members) ring(memory, vcpuArea(layout, vcpuId(vcpu)), Doorbell.stop);
  }

  #haveAllEnded(): boolean {
    return this.#members.every(({ outcome, lost }) => outcome !== undefined || lost !== undefined);
  }
}
