/**
 * One stress run: workers start at a gate and run their programs; the main thread parks them all for an audit now and
 * then, watches that they get on, ends the run, takes the machine down and searches it for leaks. The main thread never
 * blocks: it polls, so that Ctrl-C and lost workers are noticed whatever the vCPUs do.
 */
/* oxlint-disable no-await-in-loop -- these loops poll: one look comes after another */
import { setTimeout as pause } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { lockPlaces } from "../lock-waits.ts";
import { resetLockStatistics } from "../../locks/lock-statistics.ts";
import { LOCK_NAMES } from "../../memory/layout.ts";
import type {
  LockRow,
  StressOutcome,
  StressResult,
  VcpuDiagnosis,
  Violation,
  WatchRow,
} from "../../report/types.ts";
import { auditAtRest, isDestroyed, leaksOf, locksLeftHeld } from "./audit.ts";
import { bootMachine } from "./boot.ts";
import type { BootedMachine } from "./boot.ts";
import { ControlCell, WayOut } from "./control.ts";
import type { Crew } from "./crew.ts";
import { confirmed } from "./diagnosis.ts";
import type { StressPlan } from "./plan.ts";
import { recentRows } from "./recent.ts";
import { watchpointsSet } from "./watchpoints.ts";
import { finishedLocks, lockRows, memberWaits, rate, vcpuRows, withPageLocks } from "./result.ts";
import { Roll } from "./roll.ts";
import { Stopwatch } from "./stopwatch.ts";

/** What a run may be told and asked while it runs. */
export interface StressHooks {
  /** Aborted when the run shall end early; its reason is the name of a signal. */
  readonly interruption?: AbortSignal;
  /** Told now and then what part of the run is over, 0 to 1, and what is worth knowing. */
  readonly onProgress?: (fraction: number, note: string) => void;
  /** Told the threads once they have been started. */
  readonly onWorkers?: (threads: readonly Worker[]) => void;
  /** After so many seconds without any progress the run is stuck. */
  readonly watchdogSeconds?: number;
}

const WATCHDOG_SECONDS = 10;
const GATE_SECONDS = 60;
/** Begun so long after the last audit ended, the next one begins within 100 ms on a busy machine too. */
const AUDIT_EVERY_MS = 70;
const TICK_MS = 5;
const PARKING_TICK_MS = 1;
/** Programs get this long to come to the end of a round, then the machine stops under them. */
const ROUND_SECONDS = 2;
/** The same where somebody waits for the end. */
const HASTY_ROUND_SECONDS = 0.3;
/** What has not ended this long after that is terminated. */
const STOP_SECONDS = 5;
const SECOND_LOOK_MS = 250;
const VIOLATIONS_MAX = 1000;

/** Runs what is planned on workers that may serve further runs, if this one completes. */
export function runWith(crew: Crew, plan: StressPlan, hooks: StressHooks): Promise<StressResult> {
  const booted = bootMachine(plan);
  const { members, findings } = crew.start(booted.tasks);
  hooks.onWorkers?.(crew.threads);
  const roll = new Roll(members, booted.machine, booted.programs);
  return new StressRun(plan, booted, roll, hooks).toItsEnd(findings);
}

class StressRun {
  readonly #plan: StressPlan;
  readonly #booted: BootedMachine;
  readonly #roll: Roll;
  readonly #hooks: StressHooks;
  readonly #watchdogSeconds: number;
  readonly #time = new Stopwatch();
  readonly #violations: Violation[] = [];
  #outcome: StressOutcome = "completed";
  #reason: string | null = null;
  #stuck: readonly VcpuDiagnosis[] = [];
  #audits = 0;
  #tornDown = false;
  #locks: readonly LockRow[] = [];

  constructor(plan: StressPlan, booted: BootedMachine, roll: Roll, hooks: StressHooks) {
    this.#plan = plan;
    this.#booted = booted;
    this.#roll = roll;
    this.#hooks = hooks;
    this.#watchdogSeconds = hooks.watchdogSeconds ?? WATCHDOG_SECONDS;
  }

  async toItsEnd(findings: readonly Violation[]): Promise<StressResult> {
    if (await this.#openGate()) {
      await this.#drive();
      await this.#bringIn();
      this.#lookAtTheEnd();
    } else {
      await this.#sendHome();
      this.#measure();
    }
    await this.#leave();
    return this.#result(findings);
  }

  /** Opens the gate when all workers stand at it; false when the run must not begin. */
  async #openGate(): Promise<boolean> {
    const { control, machine, meter, heartbeats } = this.#booted;
    const until = performance.now() + GATE_SECONDS * 1000;
    while (control.read(ControlCell.arrived) < this.#roll.members.length) {
      if (this.#mustEnd()) return false;
      if (performance.now() > until) {
        this.#end("stuck", `not all workers were ready within ${String(GATE_SECONDS)} s`);
        return false;
      }
      await pause(TICK_MS);
    }
    // What it took to set the machine up is not part of the run.
    for (const lock of LOCK_NAMES.keys()) resetLockStatistics(machine.memory, machine.layout, lock);
    meter.restart();
    heartbeats.excuse(Infinity);
    this.#time.run();
    control.write(ControlCell.open, 1);
    return true;
  }

  /** Until the programs have ended, time is over, or something goes wrong. */
  async #drive(): Promise<void> {
    const { control, heartbeats } = this.#booted;
    const began = performance.now();
    const limitMs = (this.#plan.seconds ?? Infinity) * 1000;
    let elapsed = 0;
    while (elapsed < limitMs && !this.#mustEnd() && !this.#roll.haveAllVcpusLeft()) {
      if (control.read(ControlCell.over) !== 0) return;
      this.#showProgress(elapsed / limitMs);
      heartbeats.sample();
      const still = heartbeats.allStillSeconds();
      if (still > this.#watchdogSeconds) {
        await this.#diagnose(`no vCPU has begun an operation for ${still.toFixed(1)} s`);
      } else if (this.#time.sinceRun() < AUDIT_EVERY_MS) {
        await pause(Math.min(TICK_MS, limitMs - elapsed));
      } else if (!(await this.#parkAndAudit())) {
        return;
      }
      elapsed = performance.now() - began;
    }
  }

  /** False when the run must not go on. */
  async #parkAndAudit(): Promise<boolean> {
    const { lot, machine, heartbeats, meter, diagnosis } = this.#booted;
    this.#time.park();
    lot.request();
    for (let moving = lot.moving(); moving.length > 0; moving = lot.moving()) {
      if (this.#mustEnd()) return false;
      if (this.#time.sincePark() > this.#watchdogSeconds * 1000) {
        const limit = String(this.#watchdogSeconds);
        const who = moving.map((id) => diagnosis.name(id)).join(", ");
        await this.#diagnose(`not everybody parked for an audit within ${limit} s: ${who}`);
        return false;
      }
      await pause(PARKING_TICK_MS);
    }
    heartbeats.sample();
    meter.sample();
    const found = auditAtRest(machine);
    this.#audits++;
    this.#violations.push(...found);
    if (found.length > 0) this.#reason ??= "an audit found something wrong, which ended the run early";
    heartbeats.excuse(this.#time.sincePark());
    this.#time.run();
    lot.release();
    return found.length === 0;
  }

  /** Ends all programs: at the end of a round if they come to it, else where they are. */
  async #bringIn(): Promise<void> {
    const { control, lot } = this.#booted;
    control.write(ControlCell.over, 1);
    lot.release();
    // A trace has no rounds: it is over or it is not.
    if (this.#outcome !== "stuck" && this.#plan.source.kind === "scenario") {
      await this.#untilAllLeft(this.#outcome === "completed" ? ROUND_SECONDS : HASTY_ROUND_SECONDS);
    }
    this.#time.park();
    if (!this.#roll.haveAllLeft()) lot.stop();
    await this.#untilAllLeft(this.#outcome === "stuck" ? SECOND_LOOK_MS / 1000 : STOP_SECONDS);
    if (this.#roll.haveAllLeft()) return;
    if (this.#outcome === "completed" && !this.#roll.isAnyoneDead()) {
      await this.#diagnose(`not everybody ended within ${String(STOP_SECONDS)} s of being stopped`);
    }
    this.#roll.terminateThoseWhoStay();
    await this.#untilAllLeft(STOP_SECONDS);
  }

  /** The run never began: nobody shall execute an operation. */
  async #sendHome(): Promise<void> {
    const { control, lot } = this.#booted;
    lot.stop();
    control.write(ControlCell.wayOut, WayOut.leave);
    control.write(ControlCell.open, 1);
    await this.#untilAllLeft(STOP_SECONDS);
    this.#roll.terminateThoseWhoStay();
    await this.#untilAllLeft(STOP_SECONDS);
  }

  async #untilAllLeft(seconds: number): Promise<void> {
    const until = performance.now() + seconds * 1000;
    while (!this.#roll.haveAllLeft() && performance.now() < until) {
      this.#roll.buryTheLost();
      await pause(PARKING_TICK_MS);
    }
    this.#roll.buryTheLost();
  }

  /** Before the machine's teardown, which is no part of what is measured. */
  #measure(): void {
    const { machine, heartbeats, meter } = this.#booted;
    heartbeats.sample();
    meter.sample();
    this.#locks = lockRows(machine);
  }

  /** All programs have ended: what is wrong now? */
  #lookAtTheEnd(): void {
    const { machine } = this.#booted;
    this.#measure();
    if (this.#roll.isAnyoneLost() || this.#roll.isAnyoneDead()) return;
    this.#violations.push(...locksLeftHeld(machine));
    // What an audit has found once, the next one would find again.
    if (this.#violations.length > 0) return;
    this.#violations.push(...auditAtRest(machine));
    this.#audits++;
  }

  /** Lets the workers go, and takes the machine down if each of them can take down its vCPU. */
  async #leave(): Promise<void> {
    const { control } = this.#booted;
    const isWhole =
      this.#roll.haveAllLeft() &&
      !this.#roll.isAnyoneLost() &&
      !this.#roll.isAnyoneDead() &&
      // What is known to be broken may not even come apart.
      this.#violations.length === 0;
    const wasSentHome = control.read(ControlCell.wayOut) === WayOut.leave;
    if (!wasSentHome) control.write(ControlCell.wayOut, isWhole ? WayOut.tearDown : WayOut.leave);
    const until = performance.now() + this.#watchdogSeconds * 1000;
    while (!this.#roll.haveAllReported()) {
      if (performance.now() > until) {
        await this.#diagnose(`the workers did not leave within ${String(this.#watchdogSeconds)} s`);
        this.#roll.terminateTheSilent();
        return;
      }
      await pause(PARKING_TICK_MS);
    }
    if (isWhole && !wasSentHome && !this.#roll.isAnyoneDead()) this.#tearDown();
  }

  #tearDown(): void {
    this.#violations.push(...this.#unkeptPromises());
    for (const leak of leaksOf(this.#booted.machine)) {
      this.#violations.push({ check: "lifetime", vcpu: -1, message: `${leak}.` });
    }
    this.#tornDown = true;
  }

  /** What the scenario says must hold in the end, if all programs came to theirs. */
  #unkeptPromises(): Violation[] {
    const { machine, shared } = this.#booted;
    const { source, config } = this.#plan;
    if (source.kind !== "scenario") return [];
    const { guest, options } = source;
    const { scenario } = source.loaded;
    const haveAllFinished = this.#roll.members.every(({ report }) => report?.end === "finished");
    if (scenario.holds === undefined || !haveAllFinished || isDestroyed(machine)) return [];
    const broken = scenario.holds(
      { ram: machine.guestRam(), format: guest, vcpus: config.vcpus },
      shared,
      options,
    );
    return broken.map((message) => ({ check: "scenario", vcpu: -1, message }));
  }

  /** Whether something outside the programs asks for the end; notes what. */
  #mustEnd(): boolean {
    this.#roll.buryTheLost();
    const { interruption } = this.#hooks;
    if (this.#roll.isAnyoneDead()) this.#end("worker-died", "");
    else if (interruption?.aborted === true) this.#end("interrupted", `by ${String(interruption.reason)}`);
    return this.#outcome !== "completed";
  }

  /** Says why nothing moves, as well as it can be seen from outside. */
  async #diagnose(reason: string): Promise<void> {
    const { diagnosis, heartbeats, meter } = this.#booted;
    this.#end("stuck", reason);
    const first = diagnosis.hopeless();
    await pause(SECOND_LOOK_MS);
    heartbeats.sample();
    meter.sample();
    this.#stuck = diagnosis.everybody();
    this.#violations.push(...confirmed(first, diagnosis.hopeless()));
  }

  /** The first reason to end a run is the one that is told. */
  #end(outcome: StressOutcome, reason: string): void {
    if (this.#outcome !== "completed") return;
    this.#outcome = outcome;
    this.#reason = reason;
  }

  #showProgress(fraction: number): void {
    const found = this.#violations.length;
    const note = `${String(this.#audits)} audits${found === 0 ? "" : `, ${String(found)} violations`}`;
    this.#hooks.onProgress?.(fraction, note);
  }

  #result(findings: readonly Violation[]): StressResult {
    const { heartbeats, meter, programs } = this.#booted;
    if (this.#roll.isAnyoneDead()) this.#end("worker-died", "");
    const died = this.#outcome === "worker-died";
    const seconds = this.#time.runSeconds;
    const vcpus = vcpuRows(this.#roll.members, programs, { heartbeats, meter, seconds });
    const ofVcpus = vcpus.filter(({ vcpu }) => vcpu < this.#plan.config.vcpus);
    const operations = ofVcpus.reduce((sum, row) => sum + row.operations, 0);
    const faults = ofVcpus.reduce((sum, row) => sum + row.faults, 0);
    const { interruption } = this.#hooks;
    const violations = this.#allViolations(findings).slice(0, VIOLATIONS_MAX);
    const waits = memberWaits(this.#roll.members);
    const counters = { ...meter.sums(), operations };
    const isWell = violations.length === 0 && this.#outcome === "completed";
    return {
      engine: "stress",
      command: this.#plan.command,
      settings: this.#plan.settings,
      outcome: this.#outcome,
      reason: died ? this.#roll.obituary() : this.#reason,
      signal: this.#outcome === "interrupted" ? String(interruption?.reason) : null,
      seconds,
      parkedSeconds: this.#time.parkedSeconds,
      audits: this.#audits,
      tornDown: this.#tornDown,
      operations,
      faults,
      operationsPerSecond: rate(operations, seconds),
      faultsPerSecond: rate(faults, seconds),
      vcpus,
      counters,
      locks: finishedLocks(withPageLocks(this.#locks, this.#roll.members, counters), waits, {
        seconds,
        threads: vcpus.length,
      }),
      waits,
      lockPlaces: lockPlaces(waits),
      violations,
      watch: this.#watchRow(),
      recent: isWell ? [] : recentRows(this.#booted.machine),
      stuck: this.#stuck,
    };
  }

  #watchRow(): WatchRow | null {
    const { watch } = this.#booted;
    return watch === null ? null : { mode: watch.mode, watchpoints: watchpointsSet(watch), overhead: null };
  }

  /** What the engine found, and what checks inside the model did. Those of workers that were lost came at once. */
  #allViolations(sentAtOnce: readonly Violation[]): Violation[] {
    const reported = this.#roll.members.flatMap(({ report }) => report?.findings ?? []);
    const seen = new Set(reported.map(({ vcpu, check, message }) => `${String(vcpu)} ${check} ${message}`));
    const ofTheLost = sentAtOnce.filter(
      ({ vcpu, check, message }) => !seen.has(`${String(vcpu)} ${check} ${message}`),
    );
    return [...ofTheLost, ...reported, ...this.#violations];
  }
}
