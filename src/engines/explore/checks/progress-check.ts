/** Progress: vCPUs that run must sooner or later complete a guest operation, whatever the schedule. */
import type { HostedVcpu } from "../../../hypervisor/machine.ts";
import { VcpuCell, VcpuState } from "../../../memory/vcpu-area.ts";
import type { Failure } from "../program-world.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";

/** How often it looks. */
const LOOK_MASK = 0xfff;
/**
 * Steps in which nobody completed an operation, from which on somebody must be going round in circles. The longest
 * operation there is, a revocation that searches every leaf of a full pool, takes some tens of thousands.
 */
const STEPS_MAX = 100_000;

/** Watches that somebody gets on. */
export class ProgressCheck implements ExecutionCheck {
  readonly #vcpus: () => readonly HostedVcpu[];
  readonly #failures: Failure[] = [];
  #operations = -1;
  #since = 0;

  constructor(vcpus: () => readonly HostedVcpu[]) {
    this.#vcpus = vcpus;
  }

  begin(): void {
    this.#failures.length = 0;
    this.#operations = -1;
    this.#since = 0;
  }

  beforeStep(scheduler: Scheduler): void {
    if ((scheduler.steps & LOOK_MASK) === 0) this.#look(scheduler);
  }

  afterStep(): void {
    // Operations are counted, not steps.
  }

  end(): readonly Failure[] {
    return this.#failures;
  }

  #look(scheduler: Scheduler): void {
    const running = this.#vcpus().filter(
      ({ vcpu }) => scheduler.view[vcpu.area + VcpuCell.state] === VcpuState.running,
    );
    const operations = this.#vcpus().reduce((sum, { vcpu }) => sum + vcpu.operations, 0);
    if (operations !== this.#operations || running.length === 0) {
      this.#operations = operations;
      this.#since = scheduler.steps;
    } else if (scheduler.steps - this.#since >= STEPS_MAX) {
      const list = running.map(
        ({ vcpu }) => `vCPU ${String(vcpu.id)} at ${address(vcpu.addressLow, vcpu.addressHigh)}`,
      );
      const steps = String(scheduler.steps - this.#since);
      const message = `No guest operation was completed in ${steps} steps: ${list.join(", ")}.`;
      this.#failures.push({ check: "livelock", thread: -1, message });
      scheduler.stop();
    }
  }
}

function address(low: number, high: number): string {
  return `0x${((high >>> 0) * 2 ** 32 + (low >>> 0)).toString(16)}`;
}
