/** Pausing a domain: the toolstack waits until no vCPU executes anything, and none begins to until it is let (spec 11.6). */
import { DomainCell } from "../memory/domain-area.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { vcpuId } from "../memory/units.ts";
import { Doorbell, VcpuCell, VcpuState, vcpuArea } from "../memory/vcpu-area.ts";
import { ring, wake } from "../memory/wait.ts";
import type { Vcpu } from "../machine/vcpu.ts";

/** Pauses count: the domain runs when each has been taken back. */
export class DomainPause {
  readonly #vcpu: Vcpu;
  readonly #memory: SharedMemory;
  readonly #layout: Layout;
  readonly #cell: number;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
    this.#memory = vcpu.memory;
    this.#layout = vcpu.layout;
    this.#cell = vcpu.layout.regions.domain.offset + DomainCell.pauses;
  }

  /** Returns when every vCPU is parked between two operations, or has ended. Must not be called with a lock held. */
  pause(): void {
    this.#memory.addWord(this.#cell, 1);
    const { vcpus } = this.#layout.sizes;
    for (let id = 0; id < vcpus; id++) ring(this.#memory, vcpuArea(this.#layout, vcpuId(id)), Doorbell.park);
    for (let id = 0; id < vcpus; id++) if (id !== this.#vcpu.id) this.#awaitRest(id);
  }

  /** Takes a pause back. */
  unpause(): void {
    // A domain that began to die has been let go already, to its end.
    if (this.#memory.loadWord(this.#cell) > 0) this.#memory.addWord(this.#cell, -1);
    wake(this.#memory, this.#cell);
  }

  /** Lets a dying domain go. */
  letGo(): void {
    this.#memory.storeWord(this.#cell, 0);
    wake(this.#memory, this.#cell);
  }

  /** One that has halted wakes to park: else it could be woken by an interrupt in the middle of the pause. */
  #awaitRest(id: number): void {
    const cell = vcpuArea(this.#layout, vcpuId(id)) + VcpuCell.state;
    for (;;) {
      const state = this.#memory.loadWord(cell);
      if (state !== VcpuState.running && state !== VcpuState.halted) return;
      this.#vcpu.waiter.waitWhile(cell, state);
    }
  }
}
