/** One point of a sweep as plain data: what a worker is sent, and what it sends back. */
import type { GuestFormat, ScenarioOptions } from "../../guest/scenario.ts";
import type { MachineConfig } from "../../hypervisor/machine-config.ts";
import type { SimulatedPoint } from "../../report/types.ts";
import type { CostModel } from "./cost-model.ts";

/** A scenario on a machine, for so much virtual time. */
export interface PointTask {
  /** The scenario's module. */
  readonly url: string;
  readonly guest: GuestFormat;
  readonly config: MachineConfig;
  readonly options: ScenarioOptions;
  readonly seed: number;
  /** Virtual time that is measured, in nanoseconds. */
  readonly windowNanos: number;
  readonly model: CostModel;
}

/** What came of it: a point, or why the scenario cannot be simulated. */
export type PointAnswer =
  | {
      readonly point: SimulatedPoint;
      /** Of every counter by name, how far it went on while the point was measured. */
      readonly counters: Readonly<Record<string, number>>;
      readonly cpuSeconds: number;
    }
  | { readonly refused: string };
