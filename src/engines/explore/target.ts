/** What is explored, as plain data that can be sent to a worker and written into a token. */
import type { GuestFormat, ScenarioOptions } from "../../guest/scenario.ts";
import type { MachineConfig } from "../../hypervisor/machine-config.ts";

/** A scenario on a machine. */
export interface ScenarioTarget {
  readonly kind: "scenario";
  /** The scenario's module. */
  readonly url: string;
  readonly guest: GuestFormat;
  readonly config: MachineConfig;
  readonly options: ScenarioOptions;
  /** Seed of the programs' own random numbers. */
  readonly seed: number;
  /** Rounds of each program. */
  readonly rounds: number;
  /** Module of the mutant that is put into the machine; null for the model as it is. */
  readonly mutant: string | null;
  /** Whether the scenario's module is a mutant's, which makes the machine ready before executions begin. */
  readonly isPrepared: boolean;
  /** Pages that the shadow pool is left with when programs begin; null for all that it has. */
  readonly freePoolPages: number | null;
  /** Points after which an execution is given up. */
  readonly pointsMax: number;
}

/** A program of a user's. */
export interface ProgramTarget {
  readonly kind: "program";
  /** Path of its module from the working directory. */
  readonly module: string;
  /** What main is given, as `writeInput` has it. */
  readonly input: string;
  /** Whether `Atomics.wait` may return without having been notified. */
  readonly hasSpuriousWakeups: boolean;
  readonly pointsMax: number;
}

/** Everything that can be explored. */
export type ExploreTarget = ScenarioTarget | ProgramTarget;
