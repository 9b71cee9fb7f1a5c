/** The result of `umbra simulate`. */
import type { LockPlaces, LockRow, LockWaitRow, StressOutcome, Violation } from "./stress-result.ts";

/** What was asked for. */
export interface SimulateSettings {
  readonly scenario: string;
  readonly guest: string;
  readonly preset: string;
  readonly seed: number;
  /** Virtual time that each point was measured for. */
  readonly milliseconds: number;
  /** Name of the cost model, and every number of it. */
  readonly cost: string;
  readonly nanos: Readonly<Record<string, number>>;
  readonly counterNanos: Readonly<Record<string, number>>;
  readonly switches: Readonly<Record<string, boolean>>;
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** Time by what it was spent on. */
export interface SpentRow {
  readonly name: string;
  readonly count: number;
  readonly nanos: number;
  /** Of the time of all vCPUs. */
  readonly share: number;
}

/** A law of queues, checked on what was measured. */
export interface LawRow {
  readonly law: "little" | "utilisation" | "time" | "order";
  /** The lock that it was checked on; null when on the whole machine. */
  readonly lock: string | null;
  readonly expected: number;
  readonly measured: number;
  readonly holds: boolean;
}

/** How the simulation of a point ended: its window was over, every program ended, or nobody could go on. */
export type PointEnding = "time" | "done" | "deadlock";

/** One point of a sweep. */
export interface SimulatedPoint {
  readonly vcpus: number;
  /** Whether there is one shadow lock for the domain, as Xen built it, or per-page locks beside it. */
  readonly granularity: "domain" | "page";
  /** Kind of the shadow lock. */
  readonly lock: string;
  /** Both together, as reports call them: points of one design make a curve. */
  readonly design: string;
  readonly ending: PointEnding;
  /** Why nothing was measured; null if something was. */
  readonly reason: string | null;
  /** Virtual time that was measured. */
  readonly seconds: number;
  /** Guest operations in that time, and a second of it. */
  readonly operations: number;
  readonly throughput: number;
  /** Rounds of the programs, a second: what was done, where guests also spin. */
  readonly rounds: number;
  readonly roundsPerSecond: number;
  /** Part of the time of all vCPUs that they waited for locks of the hypervisor. */
  readonly waitingShare: number;
  /** Of that, the part for the shadow lock, whole or in part. */
  readonly shadowLockWaiting: number;
  /** Part of the time that the shadow lock was held, as a whole. */
  readonly utilisation: number;
  /** Page-fault exits and all exits in that time. */
  readonly faults: number;
  readonly exits: number;
  readonly locks: readonly LockRow[];
  /** What vCPUs waited for locks, of waits that ended in the window, in the order of vCPUs. */
  readonly waits: readonly LockWaitRow[];
  readonly spent: readonly SpentRow[];
  readonly laws: readonly LawRow[];
  readonly violations: readonly Violation[];
  /** Accesses and waits simulated, from the boot on, and switches between vCPUs. */
  readonly events: number;
  readonly switches: number;
}

/** A fit of the universal scalability law: contention σ, coherence κ, and how far each point lies off, as a part of it. */
export interface UslFit {
  readonly lambda: number;
  readonly sigma: number;
  readonly kappa: number;
  readonly residuals: readonly { readonly vcpus: number; readonly residual: number }[];
}

/** What the points of one design say together. */
export interface ScalingRow {
  readonly design: string;
  readonly bestVcpus: number;
  readonly bestThroughput: number;
  /** vCPUs that the shadow lock can serve, by the smallest point; null when it was not taken there. */
  readonly knee: number | null;
  /** The numbers of vCPUs at which the shadow lock is the bottleneck (docs/simulator.md), of those that were measured. */
  readonly bottleneckAt: readonly number[];
  /** Null for less than three numbers of vCPUs, or without one vCPU. */
  readonly usl: UslFit | null;
}

/** What becomes of one design when one cost of the model is changed. */
export interface SensitivityRow {
  readonly cost: string;
  /** What the cost is multiplied by. */
  readonly factor: number;
  readonly design: string;
  /** The most vCPUs of the sweep, and the throughput there by that without the change. */
  readonly vcpus: number;
  readonly throughput: number;
  /** The numbers of vCPUs at which the shadow lock becomes the bottleneck, or is one no more. */
  readonly answerChangesAt: readonly number[];
}

/** How far a simulated point is off a real one, by the real one: 0.1 is a tenth too much. Null by nothing. */
export interface PointErrors {
  readonly throughput: number | null;
  readonly waitingShare: number | null;
  readonly utilisation: number | null;
}

/** The same scenario on real threads for a while: not to be repeated to the byte, and of the machine that it ran on. */
export interface RealPoint {
  readonly vcpus: number;
  readonly granularity: SimulatedPoint["granularity"];
  readonly lock: string;
  readonly design: string;
  /** The command of such a run. */
  readonly command: string;
  readonly outcome: StressOutcome;
  readonly violations: readonly Violation[];
  readonly throughput: number;
  /** Of the time of all threads, the part that they waited for locks of the hypervisor. */
  readonly waitingShare: number;
  /** Part of the time that the shadow lock was held, reckoned from the holds that were timed. */
  readonly utilisation: number;
  /** Of the simulated point with the same vCPUs and lock; null if there is none, or nothing was measured there. */
  readonly errors: PointErrors | null;
}

/** How a sweep ended. */
export type SimulateOutcome = "completed" | "interrupted" | "worker-died";

/** The result of a sweep. Nothing in it but `real` depends on the machine that it was made on. */
export interface SimulateResult {
  readonly engine: "simulate";
  /** The command that repeats it. */
  readonly command: string;
  readonly settings: SimulateSettings;
  readonly outcome: SimulateOutcome;
  readonly reason: string | null;
  readonly signal: string | null;
  readonly points: readonly SimulatedPoint[];
  readonly scaling: readonly ScalingRow[];
  readonly lockPlaces: LockPlaces;
  /** Empty unless it was asked for. */
  readonly sensitivity: readonly SensitivityRow[];
  /** Empty unless they were asked for. */
  readonly real: readonly RealPoint[];
}
