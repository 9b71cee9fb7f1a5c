/** Guest memory by guest physical address: for whoever looks at a machine on which no vCPU runs. */
import type { SharedMemory } from "../memory/shared-memory.ts";
import { NO_MFN, PAGE_BYTES } from "../memory/units.ts";
import type { P2m } from "./p2m.ts";

/** Words of guest memory. Each access throws RangeError where there is no memory. */
export class GuestMemory {
  /** Pages of guest memory. */
  readonly pages: number;
  readonly #memory: SharedMemory;
  readonly #p2m: P2m;

  constructor(memory: SharedMemory, p2m: P2m, pages: number) {
    this.#memory = memory;
    this.#p2m = p2m;
    this.pages = pages;
  }

  /** The word at an address, a multiple of 4. */
  readWord(address: number): number {
    return this.#memory.loadWord(this.#cellAt(address));
  }

  /** Writes the word at an address, a multiple of 4. */
  writeWord(address: number, value: number): void {
    this.#memory.storeWord(this.#cellAt(address), value);
  }

  #cellAt(address: number): number {
    const frame = this.#p2m.frameOf(Math.floor(address / PAGE_BYTES));
    if (frame === NO_MFN)
      throw new RangeError(`guest physical address 0x${address.toString(16)} is no memory`);
    return (frame << 10) | ((address % PAGE_BYTES) >>> 2);
  }
}
