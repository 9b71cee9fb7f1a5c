/** Runs a scenario's program on vCPU 0 of a machine of one, on this thread: no contention, but everything else. */
import { runProgram } from "../../src/guest/run-program.ts";
import type { ProgramEnd } from "../../src/guest/run-program.ts";
import { machineWish } from "../../src/guest/scenario.ts";
import type { GuestFormat, Scenario, ScenarioOptions } from "../../src/guest/scenario.ts";
import { GuestMachine } from "./guest-machine.ts";

export interface OneThreadRun {
  readonly end: ProgramEnd;
  readonly findings: readonly string[];
  readonly broken: readonly string[];
  readonly operations: number;
  readonly guest: GuestMachine;
}

export interface OneThreadSetup {
  readonly scenario: Scenario;
  readonly format: GuestFormat;
  readonly operations: number;
  readonly options: ScenarioOptions;
  readonly seed: number;
}

/** Runs for at least so many operations. */
export function runOnOneThread({
  scenario,
  format,
  operations,
  options,
  seed,
}: OneThreadSetup): OneThreadRun {
  const config = machineWish(scenario, 1, options);
  const guest = new GuestMachine({ format, seed, operationsMax: operations, config });
  const shared: unknown = structuredClone(scenario.boot(guest.loader, options));
  const end = runProgram(guest.cpu, { scenario, shared, options });
  const broken = scenario.holds?.({ ram: guest.ram, format, vcpus: 1 }, shared, options) ?? [];
  return { end, findings: guest.findings, broken, operations: guest.hosted.vcpu.operations, guest };
}
