/** What `umbra explore` found. */

/** Everything that determines an exploration, as it was resolved. */
export interface ExploreSettings {
  readonly scenario: string;
  readonly guest: string;
  readonly vcpus: number;
  readonly preset: string;
  /** The mutant that was put into the machine, null for none. */
  readonly mutant: string | null;
  readonly strategy: string;
  readonly seed: number;
  readonly schedules: number | null;
  readonly seconds: number | null;
  /** Rounds of each program. */
  readonly rounds: number;
  /** Points after which an execution was given up. */
  readonly pointsMax: number;
  readonly switches: Readonly<Record<string, boolean>>;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** Something wrong with an execution. */
export interface ExploreViolation {
  readonly check: string;
  /** Thread on which it was seen, -1 for none. */
  readonly thread: number;
  readonly message: string;
}

/** One operation of a failing execution. */
export interface TraceRow {
  /** Place in the execution, from 1. */
  readonly step: number;
  readonly thread: number;
  /** Name of the accessor: `storeWord`. */
  readonly action: string;
  /** What it concerns: `vCPU 1 doorbell`. */
  readonly object: string;
  /** Values in hexadecimal; after is null where nothing changed. */
  readonly before: string;
  readonly after: string | null;
  /** `src/machine/flush.ts:141`. */
  readonly site: string;
  readonly within: string;
  /** Whether its order with another thread's operation matters. */
  readonly conflicts: boolean;
  /** It was never performed: the thread waits for it still. */
  readonly isPending: boolean;
  /** Why the thread before gave way here: `preempted`, `blocked`, `ended`; null when it did not. */
  readonly switched: "preempted" | "blocked" | "ended" | null;
}

/** A count of thread changes. */
export interface Switches {
  readonly switches: number;
  readonly preemptions: number;
}

/** A failure, minimised and explained. */
export interface ExploreFailure {
  /** Failures with the same key are the same bug. */
  readonly key: string;
  readonly violations: readonly ExploreViolation[];
  /** The execution that showed it first, from 0. */
  readonly iteration: number;
  /** Executions that failed so. */
  readonly times: number;
  /** One line that `umbra replay` takes. */
  readonly token: string;
  /** Folder with its files, null when it could not be written. */
  readonly folder: string | null;
  /** Why it could not be written; null when it was, or was not to be. */
  readonly unwritten: string | null;
  readonly before: Switches;
  readonly after: Switches;
  /** Executions that minimising took. */
  readonly replays: number;
  /** Orders that it needs: the first of two steps before the second, by `TraceRow.step`; null when nobody has looked. */
  readonly orders: readonly { readonly first: number; readonly second: number }[] | null;
  readonly threads: readonly string[];
  readonly trace: readonly TraceRow[];
}

/** How an exploration ended. */
export type ExploreOutcome = "completed" | "interrupted" | "worker-died" | "stuck";

/** The result. */
export interface ExploreResult {
  readonly engine: "explore";
  readonly command: string;
  readonly settings: ExploreSettings;
  readonly codeHash: string;
  readonly outcome: ExploreOutcome;
  readonly reason: string | null;
  readonly signal: string | null;
  readonly workers: number;
  readonly seconds: number;
  readonly executions: number;
  readonly points: number;
  readonly pointsPerSecond: number;
  readonly stepsMin: number;
  readonly stepsMean: number;
  readonly stepsMax: number;
  /** Executions that were given up at the bound of points: nothing is known of their rest. */
  readonly capped: number;
  /** Of executions whose trace was hashed: how many, how many different, how many of the last tenth were new. */
  readonly traces: { readonly hashed: number; readonly distinct: number; readonly newInLastTenth: number };
  /** What an exhaustive strategy has completed, null for others. */
  readonly completed: string | null;
  /** Executions that an exhaustive strategy expects to be left; null when nobody knows. */
  readonly remaining: number | null;
  /** Executions with a violation, and the interval in which their share lies with 95 % confidence (Wilson). */
  readonly verdict: {
    readonly word: "Never" | "Sometimes" | "Always";
    readonly failing: number;
    readonly low: number;
    readonly high: number;
  };
  /** Executions that were repeated to see whether they repeat, and what differed. */
  readonly repeated: number;
  readonly nondeterminism: string | null;
  readonly failures: readonly ExploreFailure[];
}

/** What became of a failure that was run again. */
export interface ReplayResult {
  /** The command. */
  readonly purpose: "replay" | "minimise" | "explain";
  /** Whether the code is that with which the failure was found. */
  readonly isSameCode: boolean;
  readonly codeHash: string;
  /** Whether it fails as it did. */
  readonly fails: boolean;
  /** If it does not: keys of what it fails with instead. */
  readonly otherwise: readonly string[];
  /** Whether it was given up at its bound of points: nothing is known of its rest. */
  readonly isCapped: boolean;
  /** The first step that went another way than in the file; null when none did, or nothing is known of them. */
  readonly divergence: string | null;
  readonly failure: ExploreFailure;
}
