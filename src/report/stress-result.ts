/** What `umbra stress` found and measured in one run. */

/** Something that must not happen and did. Exit code 1. */
export interface Violation {
  /** The check that saw it. */
  readonly check: string;
  /** The vCPU on which it was seen; -1 when it is of no vCPU but of the machine. */
  readonly vcpu: number;
  readonly message: string;
}

/**
 * How a run ended.
 * - `completed`: it ran to its end, whatever it found.
 * - `interrupted`: by Ctrl-C or another signal; what had been measured is in the result.
 * - `worker-died`: a worker threw, or was terminated from outside.
 * - `stuck`: the watchdog fired.
 */
export type StressOutcome = "completed" | "interrupted" | "worker-died" | "stuck";

/** Everything that determines a run, as it was resolved. */
export interface RunSettings {
  /** Name of the scenario. */
  readonly scenario: string;
  readonly guest: string;
  readonly vcpus: number;
  readonly seed: number;
  /** Wall-clock limit; null when the run was limited by operations. */
  readonly seconds: number | null;
  /** Guest operations for each vCPU; null when the run was limited by time. */
  readonly operations: number | null;
  /** The preset from which the switches were taken before single ones were set. */
  readonly preset: string;
  readonly switches: Readonly<Record<string, boolean>>;
  /** The machine's other settings, by the names that `--set` knows. */
  readonly machine: Readonly<Record<string, string | number>>;
  /** The scenario's own options. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** What one vCPU did. The toolstack's program, if there is one, has the last row. */
export interface VcpuRow {
  readonly vcpu: number;
  /** Name of the program it ran. */
  readonly program: string;
  /**
   * How it ended: `finished` by itself; `stopped` in mid-program, with the machine; `panicked`, with or for another;
   * `threw` an error; `died`, terminated from outside; or `terminated` by the engine, because it would not end.
   */
  readonly end: "finished" | "stopped" | "panicked" | "threw" | "died" | "terminated";
  /** Guest operations; calls, for the toolstack. */
  readonly operations: number;
  /** Page-fault exits. */
  readonly faults: number;
  readonly operationsPerSecond: number;
  readonly faultsPerSecond: number;
}

/**
 * One lock, in the columns of Linux' `lock_stat`. Waits are timed at every contended acquisition; holds of one in 64,
 * so that `holdtime` speaks of `holdSamples` holds and not of all. Times in nanoseconds, 0 where there were none.
 */
export interface LockRow {
  readonly name: string;
  /**
   * In Linux: contentions whose lock word was last touched on another CPU. Umbra cannot know that without counting on
   * the hot path; whoever finds a lock held by another vCPU finds its word in that vCPU's cache, so this equals
   * `contentions`.
   */
  readonly conBounces: number;
  /** Acquisitions that had to wait. */
  readonly contentions: number;
  readonly waittimeMin: number;
  readonly waittimeMax: number;
  readonly waittimeTotal: number;
  readonly waittimeAvg: number;
  /** 99 of 100 waits were shorter: the upper bound of a power-of-two bucket. */
  readonly waittimeP99: number;
  /** In Linux: acquisitions on another CPU than the last. A vCPU is Umbra's CPU, so this equals `ownerChanges`. */
  readonly acqBounces: number;
  /** Outermost acquisitions. */
  readonly acquisitions: number;
  /** Holds that were timed. */
  readonly holdSamples: number;
  readonly holdtimeMin: number;
  readonly holdtimeMax: number;
  /** Sum of the timed holds. */
  readonly holdtimeTotal: number;
  readonly holdtimeAvg: number;
  /** Acquisitions by another vCPU than the last. */
  readonly ownerChanges: number;
  /** Part of the time that somebody held it: where holds are sampled, as if all had been as long as those. */
  readonly utilisation: number;
  /** Of the time of all vCPUs, and of the toolstack, the part that they waited for it. */
  readonly waitingShare: number;
  /** The place that waited longest for it, and the place that it was held at meanwhile; null when nobody waited. */
  readonly topWaitingSite: string | null;
  readonly topHoldingSite: string | null;
}

/** Waits of one vCPU at one place for a lock that was held at another, when they began. */
export interface LockWaitRow {
  readonly lock: string;
  readonly vcpu: number;
  readonly site: string;
  readonly heldAt: string;
  readonly count: number;
  readonly nanos: number;
}

/** For places that take locks, the lines of source in `src/hypervisor` at which they do. */
export type LockPlaces = Readonly<Record<string, string>>;

/** What the watchdog saw of one vCPU. */
export interface VcpuDiagnosis {
  readonly vcpu: number;
  readonly program: string;
  /** Whether its TLB counted as in use: off, running, halted, parked or ended. */
  readonly state: string;
  /** What it was last seen at. */
  readonly doing: string;
  /** Linear address of its last fault, hexadecimal. */
  readonly address: string;
  /** Guest operations it had begun. */
  readonly operations: number;
  /** For how long that number had not moved. */
  readonly stillSeconds: number;
  /** What it waits for, and who has it; null when it waits for nothing known. */
  readonly waitsFor: string | null;
  /** Locks it holds, each with the place that took it. */
  readonly holds: readonly string[];
}

/** Watchpoints in the manner of KCSAN. */
export interface WatchRow {
  readonly mode: string;
  /** Watchpoints that were set. */
  readonly watchpoints: number;
  /** Operations a second of the same run without them, by those with them; null where it was not measured. */
  readonly overhead: number | null;
}

/** The last operations of a vCPU, the last one last. */
export interface RecentRow {
  readonly vcpu: number;
  readonly operations: readonly string[];
}

/** The result of one stress run. */
export interface StressResult {
  readonly engine: "stress";
  /** The command that repeats the run. */
  readonly command: string;
  readonly settings: RunSettings;
  readonly outcome: StressOutcome;
  /** One sentence that says why, unless the run completed. */
  readonly reason: string | null;
  /** The signal that interrupted the run, if one did. */
  readonly signal: string | null;
  /** Time during which the vCPUs ran; rates are by this. */
  readonly seconds: number;
  /** Time during which all vCPUs were parked for audits. */
  readonly parkedSeconds: number;
  /** Audits of the whole machine while all vCPUs were parked, the last one after all had ended included. */
  readonly audits: number;
  /** Whether the machine was torn down and searched for leaks: not when a worker was lost or an audit found something. */
  readonly tornDown: boolean;
  readonly operations: number;
  readonly faults: number;
  readonly operationsPerSecond: number;
  readonly faultsPerSecond: number;
  readonly vcpus: readonly VcpuRow[];
  /** Every counter, summed over all vCPUs and the toolstack. */
  readonly counters: Readonly<Record<string, number>>;
  readonly locks: readonly LockRow[];
  /** What vCPUs waited for locks, in no order; not of workers that were lost. */
  readonly waits: readonly LockWaitRow[];
  readonly lockPlaces: LockPlaces;
  readonly violations: readonly Violation[];
  /** What each vCPU did last, if anything was wrong, else empty. */
  readonly recent: readonly RecentRow[];
  /** What watchpoints did, null where there were none. */
  readonly watch: WatchRow | null;
  /** What the watchdog saw when it fired, else empty. */
  readonly stuck: readonly VcpuDiagnosis[];
}
