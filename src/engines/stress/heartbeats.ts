/** How far each vCPU has come, and since when it has not moved. Sampled, so that counts may wrap in between. */
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { vcpuId } from "../../memory/units.ts";
import { VcpuCell, VcpuState, vcpuArea } from "../../memory/vcpu-area.ts";

interface Pulse {
  total: number;
  last: number;
  movedAt: number;
}

/** The pulses of all vCPUs of a machine. */
export class Heartbeats {
  readonly #memory: SharedMemory;
  readonly #layout: Layout;
  readonly #pulses: readonly Pulse[];

  constructor(memory: SharedMemory, layout: Layout) {
    this.#memory = memory;
    this.#layout = layout;
    const now = performance.now();
    this.#pulses = Array.from({ length: layout.sizes.vcpus }, () => ({ total: 0, last: 0, movedAt: now }));
  }

  /** Looks at every vCPU. At least once in 2^32 operations of each. */
  sample(): void {
    const now = performance.now();
    for (const [id, pulse] of this.#pulses.entries()) {
      const beat = this.#memory.loadWord(vcpuArea(this.#layout, vcpuId(id)) + VcpuCell.heartbeat);
      if (beat === pulse.last) continue;
      pulse.total += (beat - pulse.last) >>> 0;
      pulse.last = beat;
      pulse.movedAt = now;
    }
  }

  /** Time in which nobody could move does not count against anybody. */
  excuse(millis: number): void {
    const now = performance.now();
    for (const pulse of this.#pulses) pulse.movedAt = Math.min(now, pulse.movedAt + millis);
  }

  /** Operations that a vCPU had begun when last looked at. */
  total(id: number): number {
    return this.#pulses[id]?.total ?? 0;
  }

  /** For how long a vCPU has not begun an operation. */
  stillSeconds(id: number): number {
    return (performance.now() - (this.#pulses[id]?.movedAt ?? 0)) / 1000;
  }

  /** For how long not one of those that have not ended has begun an operation; 0 when all have ended. */
  allStillSeconds(): number {
    let still = Infinity;
    for (const id of this.#pulses.keys()) {
      const state = this.#memory.loadWord(vcpuArea(this.#layout, vcpuId(id)) + VcpuCell.state);
      if (state !== VcpuState.ended && state !== VcpuState.off)
        still = Math.min(still, this.stillSeconds(id));
    }
    return still === Infinity ? 0 : still;
  }
}
