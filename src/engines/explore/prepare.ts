/** A machine made ready before anything is explored, so that executions are short. */
import { Cpu } from "../../guest/cpu.ts";
import type { GuestFormat } from "../../guest/scenario.ts";
import type { HostedVcpu, Machine } from "../../hypervisor/machine.ts";
import { LockSite } from "../../locks/lock-class.ts";
import type { Clock } from "../../memory/clock.ts";
import { DomainCell, DomctlAnswer } from "../../memory/domain-area.ts";
import { vcpuId } from "../../memory/units.ts";

/** What is done to make it ready. */
export interface Preparation {
  readonly guest: GuestFormat;
  readonly shared: unknown;
  /** Pages that the shadow pool is left with. */
  readonly freePoolPages?: number | undefined;
  /** Whether writes are logged from the beginning. */
  readonly logsDirty?: boolean | undefined;
  /** Whether all memory is tracked as a frame buffer from the beginning. */
  readonly tracksVram?: boolean | undefined;
  /** Run by each vCPU, one after another. */
  prologue(cpu: Cpu, shared: unknown): void;
}

const STANDING_CLOCK: Clock = { now: () => 0 };
const NO_LIMITS = { isOver: () => false };

/** Runs the prologue on every vCPU, then takes the pool's free pages away but for those that are wanted. */
export function prepareMachine(machine: Machine, preparation: Preparation): void {
  const { vcpus } = machine.config;
  const all: HostedVcpu[] = [];
  if (preparation.logsDirty === true) logWrites(machine);
  if (preparation.tracksVram === true) trackVram(machine);
  for (let id = 0; id < vcpus; id++) {
    const hosted = machine.createVcpu(vcpuId(id), STANDING_CLOCK);
    const { vcpu } = hosted;
    all.push(hosted);
    vcpu.start();
    const { guest: format, shared } = preparation;
    preparation.prologue(
      new Cpu({ vcpu, vcpus, format, seed: 1, operationsMax: 0, limits: NO_LIMITS }),
      shared,
    );
    vcpu.stop();
  }
  const [first] = all;
  if (first !== undefined && preparation.freePoolPages !== undefined)
    shrinkPool(machine, first, preparation.freePoolPages);
  // Flushes that later vCPUs asked for are acknowledged: nothing is owed when an execution begins.
  for (const { vcpu } of all) vcpu.stop();
}

function logWrites(machine: Machine): void {
  const answer = machine.createToolstack(STANDING_CLOCK).dirty.enable();
  if (answer !== DomctlAnswer.done) throw new Error(`writes cannot be logged: ${String(answer)}`);
}

function trackVram(machine: Machine): void {
  const { ramPages } = machine.config;
  const bitmap = new Int32Array(Math.ceil(ramPages / 32));
  const answer = machine.createToolstack(STANDING_CLOCK).vram.track(0, ramPages, bitmap, 0);
  if (answer !== DomctlAnswer.noData) throw new Error(`memory cannot be tracked: ${String(answer)}`);
}

/** Leaves the pool with so many free pages, by the toolstack's hand, before any vCPU is made. */
export function leavePoolPages(machine: Machine, pages: number): void {
  const hosted = machine.resumeVcpu(vcpuId(machine.config.vcpus), STANDING_CLOCK);
  const { paging } = hosted;
  hosted.vcpu.start();
  // In hap a pool has no least size but what it has lent.
  if (machine.config.paging === "hap")
    paging.setAllocation(paging.allocation() - machine.domain.read(DomainCell.poolFree) + pages);
  else shrinkPool(machine, hosted, pages);
  hosted.vcpu.stop();
}

/** Below the pool's minimum: the machine does not allow it, but shortage is what some bugs need. */
function shrinkPool({ domain }: Machine, { shadow }: HostedVcpu, pages: number): void {
  shadow.lock.acquire(LockSite.set_allocation);
  while (domain.read(DomainCell.poolFree) > pages) shadow.pool.giveBackOne();
  shadow.lock.release();
}
