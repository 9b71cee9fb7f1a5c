/** A scenario's machine and vCPUs under the scheduler: the model as coroutines, the checks as they are. */
import { auditMachine } from "../../checks/audit.ts";
import { leftAfterTeardown } from "../../checks/left-after-teardown.ts";
import { cellName, isBookkeeping } from "../../checks/cell-names.ts";
import { Loader } from "../../guest/loader.ts";
import type { DomainControl } from "../../hypervisor/domain-control.ts";
import { Machine } from "../../hypervisor/machine.ts";
import type { HostedVcpu } from "../../hypervisor/machine.ts";
import type { MachineConfig } from "../../hypervisor/machine-config.ts";
import type { GuestFormat, Scenario, ScenarioOptions } from "../../guest/scenario.ts";
import type { Clock } from "../../memory/clock.ts";
import type { Finding } from "../../machine/vcpu.ts";
import { vcpuId } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { isDestroyed, locksLeftHeld } from "../stress/audit.ts";
import type * as Model from "../coroutine/model.ts";
import { asCoroutine } from "./program-world.ts";
import type { Failure } from "./program-world.ts";
import { Ending, SCHEDULER } from "./scheduler.ts";
import type { Observer } from "./scheduler.ts";
import { waitsOf } from "./checks/waits.ts";
import { CheckList } from "./checks/check-list.ts";
import { leavePoolPages } from "./prepare.ts";
import type { ExecutionCheck, World } from "./world.ts";

/** What a world is made of. */
export interface ScenarioSetup {
  /** The scenario as it is: it boots the machine and says what must hold. */
  readonly scenario: Scenario;
  /** The same as coroutines: its programs run. */
  readonly coroutines: Scenario;
  readonly model: typeof Model;
  readonly config: MachineConfig;
  readonly guest: GuestFormat;
  readonly options: ScenarioOptions;
  readonly seed: number;
  /** Rounds of each program. */
  readonly rounds: number;
  /** Puts a mutant's parts into a vCPU that has just been made. */
  readonly mutate?: (hosted: HostedVcpu) => void;
  /** Makes the checks that watch each execution; none when left out. */
  readonly checks?: (world: ScenarioWorld) => readonly ExecutionCheck[];
  /** The same for the toolstack: what it answers takes the place of the domain's control. */
  readonly mutateToolstack?: (domain: DomainControl) => DomainControl;
  /** Brings the machine to where every execution begins. vCPUs are then resumed instead of made. */
  readonly prepare?: (machine: Machine, shared: unknown) => void;
  /** Pages that the shadow pool is left with; null for all that it has. */
  readonly freePoolPages: number | null;
  /** Whether executions end without taking the domain apart: that writes all of memory, a hundred times the rest. */
  readonly skipsTeardown?: boolean;
  /** Whether vCPU 0's thread takes the domain apart when its program is over, while the toolstack is still at work. */
  readonly endsDomain?: boolean;
}

/** Time in steps of the schedule. */
class StepClock implements Clock {
  now(): number {
    return SCHEDULER.steps;
  }
}

/** Private regions: written without scheduling points, so restored as a whole. */
const PRIVATE_REGIONS = ["counters", "tlbs", "structureCaches", "recent", "vcpus"] as const;

/** The machine of a scenario, executed again and again. */
export class ScenarioWorld implements World {
  readonly name: string;
  /** The machine as checks see it. */
  readonly machine: Machine;
  readonly observer: Observer | null;
  readonly #setup: ScenarioSetup;
  readonly #shared: unknown;
  readonly #clock = new StepClock();
  readonly #checks: CheckList;
  #hosted: HostedVcpu[] = [];
  #ends: string[] = [];
  #toolstackFindings: readonly Finding[] = [];

  constructor(setup: ScenarioSetup) {
    this.#setup = setup;
    this.name = setup.scenario.name;
    this.machine = Machine.create(setup.config, this.#clock);
    const loader = new Loader({
      ram: this.machine.guestRam(),
      format: setup.guest,
      vcpus: setup.config.vcpus,
    });
    this.#shared = structuredClone(setup.scenario.boot(loader, setup.options));
    setup.prepare?.(this.machine, this.#shared);
    if (setup.freePoolPages !== null) leavePoolPages(this.machine, setup.freePoolPages);
    SCHEDULER.adopt(this.machine.memory.view);
    this.#checks = new CheckList(setup.checks?.(this) ?? []);
    this.observer = setup.checks === undefined ? null : this.#checks;
  }

  /** The vCPUs of the execution, by number, as coroutines. */
  get hosted(): readonly HostedVcpu[] {
    return this.#hosted;
  }

  begin(): void {
    const { model, config } = this.#setup;
    SCHEDULER.restore();
    for (const name of PRIVATE_REGIONS) {
      const { offset, words } = this.machine.layout.regions[name];
      SCHEDULER.touch(offset, words);
    }
    SCHEDULER.begin();
    this.#hosted = [];
    this.#ends = Array.from({ length: config.vcpus }, () => "");
    this.#toolstackFindings = [];
    for (let id = 0; id < config.vcpus; id++) this.#addVcpu(id);
    if (this.#setup.scenario.toolstack !== undefined) this.#addToolstack(model);
    this.#checks.begin();
  }

  end(ending: number, isThorough: boolean): readonly Failure[] {
    const failures: Failure[] = [...this.#checks.end(ending), ...this.#found()];
    if (ending !== Ending.done || failures.length > 0) return failures;
    for (const { check, vcpu, message } of locksLeftHeld(this.machine))
      failures.push({ check, thread: vcpu, message });
    failures.push(...this.#unkeptPromises());
    return failures.length > 0 || !isThorough ? failures : this.#atRest();
  }

  /** What is wrong with a machine on which nobody runs any more, as a whole. */
  #atRest(): Failure[] {
    const failures: Failure[] = [];
    for (const message of leftAfterTeardown(this.machine))
      failures.push({ check: "leak", thread: -1, message: `After teardown, ${message}.` });
    for (const { check, vcpu, message } of auditMachine(this.machine))
      failures.push({ check, thread: vcpu, message });
    const tearsDown = this.#setup.skipsTeardown !== true;
    if (failures.length === 0 && tearsDown) failures.push(...this.#leaks());
    return failures;
  }

  isIdle(): boolean {
    return waitsOf(SCHEDULER, this.machine.layout).every(({ on }) => on === "interrupt");
  }

  cellName(cell: number): string {
    return cellName(this.machine.layout, cell);
  }

  isBookkeeping(cell: number): boolean {
    return isBookkeeping(this.machine.layout, cell);
  }

  threadName(thread: number): string {
    return thread === this.#setup.config.vcpus ? "toolstack" : `vCPU ${String(thread)}`;
  }

  #addVcpu(id: number): void {
    const { model, mutate, prepare, coroutines, guest, options, seed } = this.#setup;
    // Each vCPU has a view of its own, as each thread has: what an access leaves in it is nobody else's.
    const machine = model.attachMachine(this.machine.handle);
    const host = prepare === undefined ? model.hostVcpu : model.resumeVcpu;
    const hosted = drain(host(machine, id, this.#clock));
    mutate?.(hosted);
    this.#hosted.push(hosted);
    const part = { scenario: coroutines, guest, options, seed, shared: this.#shared, limits: this.#limits() };
    const isLast = this.#setup.endsDomain === true && id === 0;
    const body = asCoroutine(isLast ? model.runLastVcpu(hosted, machine, part) : model.runVcpu(hosted, part));
    const area = vcpuArea(this.machine.layout, vcpuId(id));
    SCHEDULER.add(body, area + VcpuCell.doorbell, (end) => {
      this.#ends[id] = String(end);
    });
  }

  #addToolstack(model: typeof Model): void {
    const { coroutines, guest, options, seed, config } = this.#setup;
    const machine = model.attachMachine(this.machine.handle);
    const made = drain(model.hostToolstack(machine, this.#clock));
    const domain = this.#setup.mutateToolstack?.(made) ?? made;
    this.#toolstackFindings = domain.findings;
    const part = { scenario: coroutines, guest, options, seed, shared: this.#shared, limits: this.#limits() };
    const area = vcpuArea(this.machine.layout, vcpuId(config.vcpus));
    SCHEDULER.add(asCoroutine(model.runToolstack(domain, machine, part)), area + VcpuCell.doorbell);
  }

  #limits(): { isOver: () => boolean } {
    let left = this.#setup.rounds;
    return { isOver: () => left-- <= 0 };
  }

  #found(): Failure[] {
    const all = [...this.#hosted.flatMap(({ vcpu }) => vcpu.findings), ...this.#toolstackFindings];
    return all.map(({ check, vcpu, message }) => ({ check, thread: vcpu, message }));
  }

  #unkeptPromises(): Failure[] {
    const { scenario, guest, options, config } = this.#setup;
    const haveAllFinished = this.#ends.every((end) => end === "finished");
    if (scenario.holds === undefined || !haveAllFinished || isDestroyed(this.machine)) return [];
    const ram = this.machine.guestRam();
    const broken = scenario.holds({ ram, format: guest, vcpus: config.vcpus }, this.#shared, options);
    return broken.map((message) => ({ check: "scenario", thread: -1, message }));
  }

  #leaks(): Failure[] {
    for (const hosted of this.#hosted) drain(this.#setup.model.leave(hosted));
    const { model } = this.#setup;
    const machine = model.attachMachine(this.machine.handle);
    const domain = drain(model.hostToolstack(machine, this.#clock));
    // By coroutines too: what they write is known, and is restored.
    const left = drain(model.takeApart(domain));
    return left.map((message) => ({ check: "leak", thread: -1, message: `After teardown, ${message}.` }));
  }
}

/**
 * Runs a call of a rewritten function to its end outside of an execution, where nothing yields. As far as types know,
 * the call has returned its result already.
 */
export function drain<Result>(result: Result): Result {
  if (!SCHEDULER.isCoroutine(result)) return result;
  const end = result.next();
  if (end.done !== true) throw new Error("a coroutine yielded outside of an execution");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what a coroutine returns is what its function did
  return end.value as Result;
}
