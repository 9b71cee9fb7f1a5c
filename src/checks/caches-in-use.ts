/**
 * Which vCPUs use what they have cached, at any moment. One that is not running uses nothing; one that begins to run
 * first says so and then empties its TLB, and uses nothing in between (flush.ts).
 */
import { DomainCell } from "../memory/domain-area.ts";
import { vcpuId } from "../memory/units.ts";
import { VcpuCell, VcpuState, vcpuArea } from "../memory/vcpu-area.ts";
import type { Machine } from "../hypervisor/machine.ts";

/** Follows the steps by which vCPUs begin and cease to run. */
export class CachesInUse {
  /** Control cells of the vCPUs, by number. */
  readonly areas: readonly { readonly vcpu: number; readonly area: number }[];
  readonly #words: Int32Array;
  readonly #clock: number;
  readonly #isEntering: Uint8Array;
  readonly #inUse: number[] = [];

  constructor({ memory, layout, config }: Machine) {
    this.areas = Array.from({ length: config.vcpus }, (_, vcpu) => ({
      vcpu,
      area: vcpuArea(layout, vcpuId(vcpu)),
    }));
    this.#words = memory.view;
    this.#clock = layout.regions.domain.offset + DomainCell.tlbClock;
    this.#isEntering = new Uint8Array(config.vcpus);
  }

  /** A new execution begins. */
  begin(): void {
    this.#isEntering.fill(0);
  }

  /** A thread wrote a cell, and has come to its next access. A TLB is emptied right after the clock has ticked. */
  written(thread: number, cell: number): void {
    const area = this.areas[thread]?.area;
    if (area === undefined) return;
    if (cell === this.#clock) this.#isEntering[thread] = 0;
    else if (cell === area + VcpuCell.state) this.#isEntering[thread] = 1;
  }

  /** The vCPUs that use what they have cached. Valid until the next call. */
  inUse(): readonly number[] {
    this.#inUse.length = 0;
    for (const { vcpu, area } of this.areas)
      if (this.#isEntering[vcpu] === 0 && this.#words[area + VcpuCell.state] === VcpuState.running)
        this.#inUse.push(vcpu);
    return this.#inUse;
  }
}
