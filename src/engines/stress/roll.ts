/** Who of a run's workers is still at it, who has left, and who was lost. */
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { vcpuId } from "../../memory/units.ts";
import { VcpuCell, VcpuState, vcpuArea } from "../../memory/vcpu-area.ts";
import { Control, ControlCell, ToolstackState } from "./control.ts";
import type { Member } from "./crew.ts";

/** The workers of one run, by what can be seen of them in shared memory and heard from the pool. */
export class Roll {
  readonly members: readonly Member[];
  readonly #memory: SharedMemory;
  readonly #layout: Layout;
  readonly #control: Control;
  readonly #programs: readonly string[];
  readonly #buried = new Set<Member>();

  constructor(
    members: readonly Member[],
    { memory, layout }: { readonly memory: SharedMemory; readonly layout: Layout },
    programs: readonly string[],
  ) {
    this.members = members;
    this.#memory = memory;
    this.#layout = layout;
    this.#control = new Control(memory, layout);
    this.#programs = programs;
  }

  /** Whether no program runs any more. */
  haveAllLeft(): boolean {
    return this.members.every((member) => this.#hasLeft(member));
  }

  /** Whether the programs of all vCPUs have ended, so that only a toolstack is left. */
  haveAllVcpusLeft(): boolean {
    return this.members.every((member) => this.#isToolstack(member) || this.#hasLeft(member));
  }

  /** Whether every worker has reported or was lost. */
  haveAllReported(): boolean {
    return this.members.every(({ report, lost }) => report !== undefined || lost !== undefined);
  }

  /** Whether a worker threw an error or was lost otherwise than by our own hand. */
  isAnyoneDead(): boolean {
    return this.members.some((member) => isDead(member)) || this.#control.read(ControlCell.threw) !== 0;
  }

  /** Whether a worker was lost, by whatever hand, so that its vCPU cannot be taken down. */
  isAnyoneLost(): boolean {
    return this.members.some(({ lost }) => lost !== undefined);
  }

  /** Makes those who were lost count as ended, so that nobody waits for a flush of theirs. */
  buryTheLost(): void {
    for (const member of this.members) {
      if (member.lost === undefined || this.#buried.has(member)) continue;
      this.#buried.add(member);
      if (this.#isToolstack(member)) this.#control.write(ControlCell.toolstack, ToolstackState.ended);
      else this.#markEnded(member.task.member);
    }
  }

  /** Terminates every worker whose program has not ended. */
  terminateThoseWhoStay(): void {
    for (const member of this.members) if (!this.#hasLeft(member)) member.terminate.abort();
  }

  /** Terminates every worker that has not reported. */
  terminateTheSilent(): void {
    for (const { report, terminate } of this.members) if (report === undefined) terminate.abort();
  }

  /** What became of those who died, in one sentence. */
  obituary(): string {
    return this.members
      .filter((member) => isDead(member))
      .map((member) => {
        const { report, lost = "no reason known" } = member;
        const who = this.#nameOf(member);
        return report === undefined
          ? `${who} was lost: ${lost}`
          : `${who} threw ${report.error ?? "something"}`;
      })
      .join("; ");
  }

  #hasLeft(member: Member): boolean {
    if (member.report !== undefined || member.lost !== undefined) return true;
    if (this.#isToolstack(member)) return this.#control.read(ControlCell.toolstack) === ToolstackState.ended;
    return (this.#control.read(ControlCell.left) & (1 << member.task.member)) !== 0;
  }

  #isToolstack(member: Member): boolean {
    return member.task.member === this.#layout.sizes.vcpus;
  }

  #nameOf(member: Member): string {
    if (this.#isToolstack(member)) return "the toolstack's worker";
    const id = member.task.member;
    return `the worker of vCPU ${String(id)} (${this.#programs[id] ?? ""})`;
  }

  #markEnded(id: number): void {
    const area = vcpuArea(this.#layout, vcpuId(id));
    this.#memory.storeWord(area + VcpuCell.state, VcpuState.ended);
    for (const waitedFor of [VcpuCell.state, VcpuCell.flushAcknowledged]) {
      Atomics.notify(this.#memory.view, area + waitedFor);
    }
  }
}

function isDead({ report, lost, terminate }: Member): boolean {
  return report?.end === "threw" || (lost !== undefined && !terminate.signal.aborted);
}
