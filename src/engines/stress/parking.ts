/**
 * Parks every vCPU and the toolstack between two operations, so that the machine can be looked at while nothing in it
 * changes. A halted vCPU is woken by the request and parks too: else it could wake during the look.
 */
import { PARK_CELL } from "../../machine/parking.ts";
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { vcpuId } from "../../memory/units.ts";
import { Doorbell, VcpuCell, VcpuState, vcpuArea } from "../../memory/vcpu-area.ts";
import { ring } from "../../memory/wait.ts";
import { Control, ControlCell, ToolstackState } from "./control.ts";

/** Parks and releases the vCPUs of one machine. For the main thread: nothing here blocks. */
export class ParkingLot {
  readonly #memory: SharedMemory;
  readonly #layout: Layout;
  readonly #control: Control;

  constructor(memory: SharedMemory, layout: Layout) {
    this.#memory = memory;
    this.#layout = layout;
    this.#control = new Control(memory, layout);
  }

  /** Asks everybody to park. */
  request(): void {
    this.#control.write(PARK_CELL, 1);
    this.#ringAll(Doorbell.park);
  }

  /** Everybody who has not parked or ended yet: numbers of vCPUs, and that behind the last for the toolstack. */
  moving(): number[] {
    const { vcpus } = this.#layout.sizes;
    const moving: number[] = [];
    for (let id = 0; id < vcpus; id++) {
      const state = this.#memory.loadWord(vcpuArea(this.#layout, vcpuId(id)) + VcpuCell.state);
      if (state === VcpuState.running || state === VcpuState.halted) moving.push(id);
    }
    if (this.#control.read(ControlCell.toolstack) === ToolstackState.running) moving.push(vcpus);
    return moving;
  }

  /** Lets everybody run on. */
  release(): void {
    this.#control.write(PARK_CELL, 0);
  }

  /** Tells everybody that the run is over: each ends at its next operation, also one that died and is replaced. */
  stop(): void {
    this.#control.write(ControlCell.over, 1);
    this.release();
    this.#ringAll(Doorbell.stop);
  }

  #ringAll(bits: number): void {
    for (let id = 0; id < this.#layout.sizes.vcpus; id++) {
      ring(this.#memory, vcpuArea(this.#layout, vcpuId(id)), bits);
    }
  }
}
