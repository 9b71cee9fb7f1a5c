/** How an engine runs one vCPU's program, from its first operation to its last. */
import { GuestPanic, MachineStopped } from "./program-ends.ts";
import type { Cpu } from "./cpu.ts";
import type { Scenario, ScenarioOptions } from "./scenario.ts";

/** What ended a program. */
export type ProgramEnd =
  /** It returned by itself. */
  | "finished"
  /** The machine stopped under it. */
  | "stopped"
  /** It, or another vCPU's, came upon something after which a guest cannot go on; the reason is a violation. */
  | "panicked";

/** What a vCPU runs: its program of a scenario, what `boot` returned, and the options. */
export interface ProgramSetup {
  readonly scenario: Scenario;
  readonly shared: unknown;
  readonly options: ScenarioOptions;
}

/** Runs a vCPU's program of a scenario. What else it throws is an error in the scenario, and passes through. */
export function runProgram(cpu: Cpu, { scenario, shared, options }: ProgramSetup): ProgramEnd {
  const program = scenario.programs[cpu.id % scenario.programs.length];
  if (program === undefined) return "finished";
  try {
    program(cpu, shared, options);
    if (cpu.isUserMode) {
      cpu.panic(
        "guest",
        "the program returned in user mode: cpu.enterKernelMode() and kernel.exitSpace() come first",
      );
    }
    cpu.finish();
    return "finished";
  } catch (error) {
    if (error instanceof MachineStopped) return "stopped";
    if (error instanceof GuestPanic) return "panicked";
    throw error;
  }
}
