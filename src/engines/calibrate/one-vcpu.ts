/** What a guest operation of a scenario takes one vCPU, by the processor time of its thread: other work does not count. */
import { threadCpuUsage } from "node:process";
import { Loader } from "../../guest/loader.ts";
import { Machine } from "../../hypervisor/machine.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import type { MeasuredTime } from "../../report/types.ts";
import { hostVcpu, runVcpu } from "../coroutine/model.ts";
import { RunError } from "../errors.ts";
import { RealClock } from "../real-clock.ts";
import { importLoadedScenario } from "../scenario-files.ts";
import type { PointTask } from "../simulate/point-task.ts";
import { seriesOf } from "./rounds.ts";

const NANOS_PER_MICRO = 1000;
/** Processor time of a round, and the part of all time that compilers get for themselves. */
const ROUND_NANOS = 5e6;
const WARM_UP = 0.4;
const ROUNDS_MIN = 8;
const BETWEEN_LOOKS_MAX = 1 << 16;

/** Runs a workload for so long, on the thread that it is called on. */
export async function measureWorkload(task: PointTask, milliseconds: number): Promise<MeasuredTime> {
  const scenario = await importLoadedScenario(task.url);
  const { config, guest, options, seed } = task;
  const machine = Machine.create(config, new RealClock());
  const loader = new Loader({ ram: machine.guestRam(), format: guest, vcpus: config.vcpus });
  const shared = structuredClone(scenario.boot(loader, options));
  const hosted = hostVcpu(machine, 0, new RealClock());
  const { vcpu } = hosted;
  const rounds = new OperationRounds(
    () => vcpu.memory.loadPrivate(vcpu.area + VcpuCell.heartbeat),
    milliseconds,
  );
  const end = runVcpu(hosted, { scenario, guest, shared, options, seed, limits: rounds });
  const [finding] = vcpu.findings;
  if (finding !== undefined || end !== "finished")
    throw new RunError(`${scenario.name} ${end} on one vCPU: ${finding?.message ?? "no violation"}`);
  return { name: scenario.name, about: scenario.about, ...seriesOf(rounds.times) };
}

/** Times operations whenever the program asks whether it is over. */
class OperationRounds {
  /** Nanoseconds of an operation, a number for each round that counts. */
  readonly times: number[] = [];
  readonly #operations: () => number;
  readonly #milliseconds: number;
  #began = 0;
  #nanos = 0;
  #begun = 0;
  #untilLook = 1;
  #betweenLooks = 1;

  constructor(operations: () => number, milliseconds: number) {
    this.#operations = operations;
    this.#milliseconds = milliseconds;
  }

  isOver(): boolean {
    if (--this.#untilLook > 0) return false;
    const isOver = this.#look();
    this.#untilLook = this.#betweenLooks;
    return isOver;
  }

  #look(): boolean {
    const nanos = processorNanos();
    const now = performance.now();
    if (this.#began === 0) {
      this.#began = now;
      this.#begin(nanos);
      return false;
    }
    const elapsed = now - this.#began;
    if (nanos - this.#nanos < ROUND_NANOS) {
      this.#betweenLooks = Math.min(2 * this.#betweenLooks, BETWEEN_LOOKS_MAX);
      return false;
    }
    const operations = (this.#operations() - this.#begun) >>> 0;
    if (elapsed > this.#milliseconds * WARM_UP) this.times.push((nanos - this.#nanos) / operations);
    this.#begin(nanos);
    return elapsed > this.#milliseconds && this.times.length >= ROUNDS_MIN;
  }

  #begin(nanos: number): void {
    this.#nanos = nanos;
    this.#begun = this.#operations();
    this.#betweenLooks = Math.max(1, this.#betweenLooks >> 1);
  }
}

function processorNanos(): number {
  const { user, system } = threadCpuUsage();
  return (user + system) * NANOS_PER_MICRO;
}
