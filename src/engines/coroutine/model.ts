/** What engines need of the model as coroutines: the one module that they load so, with the threads they run. */
import { Cpu } from "../../guest/cpu.ts";
import type { RunLimits } from "../../guest/cpu.ts";
import type { MemoryType, Toolstack } from "../../guest/ports.ts";
import { Random } from "../../guest/random.ts";
import { runProgram } from "../../guest/run-program.ts";
import type { ProgramEnd } from "../../guest/run-program.ts";
import type { GuestFormat, Scenario, ScenarioOptions } from "../../guest/scenario.ts";
import type { DomainControl } from "../../hypervisor/domain-control.ts";
import { MEMORY_TYPES } from "../../hypervisor/p2m-type.ts";
import { Machine } from "../../hypervisor/machine.ts";
import type { HostedVcpu, MachineHandle } from "../../hypervisor/machine.ts";
import type { Clock } from "../../memory/clock.ts";
import { DomctlAnswer } from "../../memory/domain-area.ts";
import { vcpuId } from "../../memory/units.ts";

export { SharedMemory } from "../../memory/shared-memory.ts";

/** The machine that a plain one is too, as coroutines see it. */
export function attachMachine(handle: MachineHandle): Machine {
  return Machine.attach(handle);
}

/** A vCPU as after reset. */
export function hostVcpu(machine: Machine, id: number, clock: Clock): HostedVcpu {
  return machine.createVcpu(vcpuId(id), clock);
}

/** A vCPU as it was left when it was last hosted. */
export function resumeVcpu(machine: Machine, id: number, clock: Clock): HostedVcpu {
  return machine.resumeVcpu(vcpuId(id), clock);
}

/** The toolstack's view of the domain. */
export function hostToolstack(machine: Machine, clock: Clock): DomainControl {
  return machine.createToolstack(clock);
}

/** What a thread of a scenario runs. */
export interface ThreadPart {
  readonly scenario: Scenario;
  readonly guest: GuestFormat;
  readonly shared: unknown;
  readonly options: ScenarioOptions;
  readonly seed: number;
  readonly limits: RunLimits;
}

/** A vCPU's thread, from its start to its end. */
export function runVcpu(hosted: HostedVcpu, part: ThreadPart): ProgramEnd {
  const { vcpu } = hosted;
  const { scenario, shared, options, seed, limits } = part;
  vcpu.start();
  const vcpus = vcpu.layout.sizes.vcpus;
  const cpu = new Cpu({ vcpu, vcpus, format: part.guest, seed, operationsMax: 0, limits });
  const end = runProgram(cpu, { scenario, shared, options });
  vcpu.stop();
  return end;
}

/** A vCPU's thread that takes the domain apart when its program is over; what was left over is `leftAfterTeardown`'s. */
export function runLastVcpu(hosted: HostedVcpu, machine: Machine, part: ThreadPart): ProgramEnd {
  const end = runVcpu(hosted, part);
  hosted.paging.teardownVcpu();
  machine.controlBy(hosted).teardown();
  return end;
}

/** The toolstack's thread. */
export function runToolstack(domain: DomainControl, machine: Machine, part: ThreadPart): void {
  const toolstack = new ScheduledToolstack(domain, machine, part);
  part.scenario.toolstack?.(toolstack, part.shared, part.options);
}

/** Gives up what a vCPU holds of the domain, after its program's end. */
export function leave(hosted: HostedVcpu): void {
  hosted.paging.teardownVcpu();
}

/** Takes the domain apart; what was left over, a sentence each without its full stop. */
export function takeApart(domain: DomainControl): string[] {
  return domain.teardown();
}

/** A toolstack that is one thread among the vCPUs'. */
class ScheduledToolstack implements Toolstack {
  readonly #domain: DomainControl;
  readonly #limits: RunLimits;
  readonly #random: Random;

  constructor(domain: DomainControl, machine: Machine, { seed, limits }: ThreadPart) {
    this.#domain = domain;
    this.#limits = limits;
    this.#random = new Random(seed, machine.config.vcpus);
  }

  running(): boolean {
    return !this.#limits.isOver();
  }

  removePage(gfn: number): void {
    this.#domain.removePage(gfn);
  }

  addPage(gfn: number): boolean {
    return this.#domain.addPage(gfn);
  }

  movePage(gfn: number): boolean {
    return this.#domain.movePage(gfn);
  }

  setPageType(gfn: number, type: MemoryType): boolean {
    return this.#domain.types.setType(gfn, MEMORY_TYPES[type]);
  }

  populateOnDemand(gfn: number): boolean {
    return this.#domain.types.populateOnDemand(gfn);
  }

  mapDevice(gfn: number): boolean {
    return this.#domain.types.mapDevice(gfn);
  }

  nominatePage(gfn: number): boolean {
    return this.#domain.types.nominate(gfn);
  }

  evictPage(gfn: number): boolean {
    return this.#domain.types.evict(gfn);
  }

  requestedPage(): number {
    return this.#domain.types.request();
  }

  loadPage(gfn: number, from: Int32Array, at: number, words: number): boolean {
    return this.#domain.types.load(gfn, { words: from, at, count: words });
  }

  setAllocation(pages: number): number {
    return this.#domain.setAllocation(pages);
  }

  allocation(): number {
    return this.#domain.allocation();
  }

  deviceWrite(address: number, value: number): void {
    this.#domain.deviceWrite(address, value);
  }

  enableLogDirty(): number {
    return this.#domain.dirty.enable();
  }

  disableLogDirty(): number {
    return this.#domain.dirty.disable();
  }

  harvestDirty(bitmap: Int32Array, isPaused: boolean): number {
    const { dirty } = this.#domain;
    let answer: number;
    do {
      answer = isPaused ? dirty.clean(bitmap) : dirty.cleanRunning(bitmap);
    } while (answer === DomctlAnswer.again);
    return answer;
  }

  peekDirty(bitmap: Int32Array): number {
    return this.#domain.dirty.peek(bitmap);
  }

  trackVram(first: number, pages: number, bitmap: Int32Array, milliseconds: number): number {
    return this.#domain.vram.track(first, pages, bitmap, milliseconds);
  }

  pauseDomain(): void {
    this.#domain.pause.pause();
  }

  unpauseDomain(): void {
    this.#domain.pause.unpause();
  }

  readPage(gfn: number, into: Int32Array, at: number, words: number): boolean {
    return this.#domain.readPage(gfn, into, at, words);
  }

  violation(check: string, message: string): void {
    this.#domain.base.vcpu.reportViolation(check, message);
  }

  destroy(): void {
    this.#domain.beginDestroy();
  }

  letRun(): void {
    // Whoever runs next is the scheduler's choice, at every access.
  }

  random(bound: number): number {
    return this.#random.below(bound);
  }
}
