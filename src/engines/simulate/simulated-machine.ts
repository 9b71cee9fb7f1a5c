/** A scenario's machine in virtual time: booted as it is, its vCPUs as coroutines, every counter charged for. */
import { cellName } from "../../checks/cell-names.ts";
import { Loader } from "../../guest/loader.ts";
import type { Scenario } from "../../guest/scenario.ts";
import { Machine } from "../../hypervisor/machine.ts";
import type { HostedVcpu } from "../../hypervisor/machine.ts";
import type { Finding } from "../../machine/vcpu.ts";
import type { Clock } from "../../memory/clock.ts";
import { COUNTER_NAMES, Counter } from "../../memory/counters.ts";
import { vcpuId } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { isCoroutine } from "../coroutine/call-stacks.ts";
import type { Coroutine } from "../coroutine/call-stacks.ts";
import type * as Model from "../coroutine/model.ts";
import type { CostModel } from "./cost-model.ts";
import type { PointTask } from "./point-task.ts";
import { SCHEDULER } from "./virtual-scheduler.ts";
import type { Window } from "./window.ts";

/** What a machine is made of besides its task. */
export interface LoadedScenario {
  /** The scenario as it is: it boots the machine. */
  readonly scenario: Scenario;
  /** The same as coroutines: its programs run. */
  readonly coroutines: Scenario;
  readonly model: typeof Model;
}

class VirtualClock implements Clock {
  now(): number {
    return SCHEDULER.now;
  }
}

/** One point's machine. */
export class SimulatedMachine {
  readonly machine: Machine;
  /** Rounds that each vCPU's program has begun. */
  readonly rounds: Float64Array;
  /** Guest operations that each vCPU has begun. */
  readonly operations: Float64Array;
  readonly #task: PointTask;
  readonly #loaded: LoadedScenario;
  #window: Window | null = null;
  readonly #clock = new VirtualClock();
  readonly #hosted: HostedVcpu[] = [];
  readonly #counterNanos: Int32Array;
  #toolstackFindings: readonly Finding[] = [];

  constructor(task: PointTask, loaded: LoadedScenario) {
    this.#task = task;
    this.#loaded = loaded;
    const { config, guest, model, seed } = task;
    this.#counterNanos = counterNanos(model);
    this.rounds = new Float64Array(config.vcpus);
    this.operations = new Float64Array(config.vcpus);
    this.machine = Machine.create(config, this.#clock);
    const loader = new Loader({ ram: this.machine.guestRam(), format: guest, vcpus: config.vcpus });
    const shared = structuredClone(loaded.scenario.boot(loader, task.options));
    const { view } = this.machine.memory;
    SCHEDULER.prepare({ view, threads: config.vcpus + 1, layout: this.machine.layout, seed }, model);
    this.#addThreads(shared);
  }

  /** What a number of a thread means. */
  threadName(thread: number): string {
    return thread === this.#task.config.vcpus ? "toolstack" : `vCPU ${String(thread)}`;
  }

  /** What a cell is called. */
  cellName(cell: number): string {
    return cellName(this.machine.layout, cell);
  }

  /** What checks inside the model have found. */
  findings(): readonly Finding[] {
    return [...this.#hosted.flatMap(({ vcpu }) => vcpu.findings), ...this.#toolstackFindings];
  }

  /** Every counter, summed over all vCPUs. */
  counters(): number[] {
    return COUNTER_NAMES.map((name) =>
      this.#hosted.reduce((sum, { vcpu }) => sum + vcpu.counters.value(Counter[name]), 0),
    );
  }

  /** Tells a window when the programs begin. */
  watch(window: Window): void {
    this.#window = window;
  }

  #addThreads(shared: unknown): void {
    const { config, guest, options, seed } = this.#task;
    const { coroutines, model, scenario } = this.#loaded;
    const part = { scenario: coroutines, guest, options, seed, shared };
    for (let id = 0; id < config.vcpus; id++) {
      const machine = model.attachMachine(this.machine.handle);
      const hosted = drain(model.hostVcpu(machine, id, this.#clock));
      this.#charge(hosted, id);
      this.#hosted.push(hosted);
      const limits = { isOver: () => this.#isOver(id) };
      const area = vcpuArea(this.machine.layout, vcpuId(id));
      SCHEDULER.add(asCoroutine(model.runVcpu(hosted, { ...part, limits })), area + VcpuCell.doorbell);
    }
    if (scenario.toolstack === undefined) return;
    const machine = model.attachMachine(this.machine.handle);
    const domain = drain(model.hostToolstack(machine, this.#clock));
    this.#toolstackFindings = domain.findings;
    const limits = { isOver: () => this.#isToolstackOver() };
    const area = vcpuArea(this.machine.layout, vcpuId(config.vcpus));
    const toolstack = model.runToolstack(domain, machine, { ...part, limits });
    SCHEDULER.add(asCoroutine(toolstack), area + VcpuCell.doorbell);
  }

  /** From outside, so that the model has no hook for it: what is counted is charged for. */
  #charge({ vcpu }: HostedVcpu, id: number): void {
    const { counters } = vcpu;
    const costs = this.#counterNanos;
    const add = counters.add.bind(counters);
    counters.add = (counter) => {
      const nanos = costs[counter] ?? 0;
      if (nanos !== 0) SCHEDULER.spend(nanos);
      add(counter);
    };
    const { operations } = this;
    const { operation } = this.#task.model.nanos;
    const countOperation = vcpu.countOperation.bind(vcpu);
    vcpu.countOperation = (what, low, high) => {
      SCHEDULER.spend(operation);
      operations[id] = (operations[id] ?? 0) + 1;
      countOperation(what, low, high);
    };
  }

  #isOver(id: number): boolean {
    const begun = this.rounds[id] ?? 0;
    if (begun === 0 && this.#window !== null) SCHEDULER.tellAt(this.#window.begun(SCHEDULER.now));
    this.rounds[id] = begun + 1;
    return false;
  }

  #isToolstackOver(): boolean {
    SCHEDULER.spend(TOOLSTACK_PAUSE);
    return false;
  }
}

/** A toolstack does one thing after another with its domain, not without a pause: 100 µs. */
const TOOLSTACK_PAUSE = 100_000;

function counterNanos({ counters }: CostModel): Int32Array {
  return Int32Array.from(COUNTER_NAMES, (name) => counters[name] ?? 0);
}

/** As far as types know, what a rewritten function returns is what its function did. */
function drain<Result>(result: Result): Result {
  if (!isCoroutine(result)) return result;
  const end = result.next();
  if (end.done !== true) throw new Error("a coroutine yielded outside of a simulation");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what a coroutine returns is what its function did
  return end.value as Result;
}

function asCoroutine(result: unknown): Coroutine {
  if (!isCoroutine(result)) throw new Error("a thread without a shared access cannot be simulated");
  return result;
}
