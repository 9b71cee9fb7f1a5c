/** Runs a scenario's program on one vCPU of a real machine, on this thread: no contention, but everything else. */
import { Machine } from "../../src/hypervisor/machine.ts";
import { machineConfig } from "../../src/hypervisor/machine-config.ts";
import type { MachineConfig } from "../../src/hypervisor/machine-config.ts";
import type { HostedVcpu } from "../../src/hypervisor/machine.ts";
import { Cpu } from "../../src/guest/cpu.ts";
import { Loader } from "../../src/guest/loader.ts";
import { runProgram } from "../../src/guest/run-program.ts";
import { machineWish } from "../../src/guest/scenario.ts";
import type { GuestFormat, OptionValue, Scenario } from "../../src/guest/scenario.ts";
import type { Finding } from "../../src/machine/vcpu.ts";
import { vcpuId } from "../../src/memory/units.ts";

/** A clock that says how often it was asked. */
export class CountingClock {
  #now = 0;

  now(): number {
    return ++this.#now;
  }
}

export interface OneThreadRun {
  readonly end: string;
  readonly findings: readonly Finding[];
  readonly broken: readonly string[];
  readonly hosted: HostedVcpu;
  readonly machine: Machine;
}

export interface OneThreadSetup {
  readonly scenario: Scenario;
  readonly format: GuestFormat;
  readonly operations: number;
  readonly options?: Readonly<Record<string, OptionValue>>;
  readonly seed?: number;
  readonly config?: Partial<MachineConfig>;
}

/** Runs vCPU 0 of a machine of one vCPU for so many operations. */
export function runOnOneThread(setup: OneThreadSetup): OneThreadRun {
  const { scenario, format, operations, seed = 1 } = setup;
  const options = { ...scenario.options, ...setup.options };
  const clock = new CountingClock();
  const machine = Machine.create(
    machineConfig({ vcpus: 1, ...machineWish(scenario, 1, options), ...setup.config }),
    clock,
  );
  const ram = machine.guestRam();
  const shared: unknown = structuredClone(scenario.boot(new Loader({ ram, format, vcpus: 1 }), options));
  const hosted = machine.createVcpu(vcpuId(0), clock);
  hosted.vcpu.start();
  const cpu = new Cpu({
    vcpu: hosted.vcpu,
    vcpus: 1,
    format,
    seed,
    operationsMax: operations,
    limits: { isOver: () => false },
  });
  const end = runProgram(cpu, { scenario, shared, options });
  const broken = scenario.holds?.({ ram, format, vcpus: 1 }, shared, options) ?? [];
  hosted.vcpu.stop();
  return { end, findings: hosted.vcpu.findings, broken, hosted, machine };
}
