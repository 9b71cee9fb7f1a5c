/** A vCPU with tables of its own and nothing but a test behind its exits. */
import { FaultAnswer, Status } from "../../src/machine/exits.ts";
import type { Exits } from "../../src/machine/exits.ts";
import { Vcpu } from "../../src/machine/vcpu.ts";
import { layOut } from "../../src/memory/layout.ts";
import type { Layout, LayoutSizes } from "../../src/memory/layout.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import type { Waiter } from "../../src/memory/wait.ts";

const SIZES: LayoutSizes = {
  vcpus: 2,
  frames: 64,
  ramPages: 1,
  tlbSets: 4,
  tlbWays: 2,
  structureCacheEntries: 0,
};
const ROOT = 1;
const FIRST_TABLE = 2;
const PRESENT = 1;
const FLAGS = 7;

/** What the test does with a page fault: a `FaultAnswer`. */
export type OnFault = (errorCode: number, addressLow: number, addressHigh: number) => number;

export class BareVcpu implements Exits {
  readonly vcpu: Vcpu;
  readonly memory: SharedMemory;
  readonly layout: Layout;
  /** Error codes of the faults so far. */
  readonly faults: number[] = [];
  /** What becomes of a fault; by default it is injected with hardware's error code. */
  onFault: OnFault = (errorCode) => {
    this.vcpu.faultErrorCode = errorCode;
    return FaultAnswer.inject;
  };
  #nextTable = FIRST_TABLE;

  constructor(id = 0, sizes: Partial<LayoutSizes> = {}, memory?: SharedMemory) {
    this.layout = layOut({ ...SIZES, ...sizes });
    this.memory = memory ?? SharedMemory.create(this.layout.words);
    this.vcpu = new Vcpu(this.memory, this.layout, vcpuId(id), { now: () => 0 });
    this.vcpu.exits = this;
    this.vcpu.setRegister(VcpuCell.shadowLevels, 4);
    this.vcpu.setRegister(VcpuCell.hardwareRoot, ROOT);
    this.vcpu.setRegister(VcpuCell.pagingOn, 1);
    this.vcpu.start();
  }

  /** Cell of the leaf entry of an address; tables on the way are made. */
  leafCell(address: bigint): number {
    let table = ROOT;
    for (let level = 4; level > 1; level--) {
      const cell = (table << 10) | (this.#slot(address, level) << 1);
      if ((this.memory.loadEntry(cell) & PRESENT) === 0)
        this.memory.storeEntry(cell, (this.#nextTable++ << 12) | FLAGS, 0);
      table = this.memory.loadEntry(cell) >>> 12;
    }
    return (table << 10) | (this.#slot(address, 1) << 1);
  }

  /** Maps a page of hardware's tables. */
  map(address: bigint, frame: number, flags = FLAGS, highHalf = 0): void {
    this.memory.storeEntry(this.leafCell(address), (frame << 12) | flags, highHalf);
  }

  /** Lets this stand in for whatever the vCPU waits for. */
  set meanwhile(act: () => void) {
    const waiter: Waiter = this.vcpu.waiter;
    waiter.waitWhile = act;
  }

  load(address: bigint, size = 4): number {
    return this.vcpu.load(low(address), high(address), size);
  }

  fetch(address: bigint, size = 1): number {
    return this.vcpu.fetch(low(address), high(address), size);
  }

  store(address: bigint, value: bigint, size = 4): number {
    return this.vcpu.store(low(address), high(address), size, low(value), high(value));
  }

  exchange(address: bigint, expected: bigint, value: bigint, size = 4): number {
    this.vcpu.expectedLow = low(expected);
    this.vcpu.expectedHigh = high(expected);
    this.vcpu.valueLow = low(value);
    this.vcpu.valueHigh = high(value);
    return this.vcpu.compareExchange(low(address), high(address), size);
  }

  /** What was read last. */
  get result(): bigint {
    return BigInt(this.vcpu.resultLow >>> 0) | (BigInt(this.vcpu.resultHigh >>> 0) << 32n);
  }

  awaitRoot(): void {
    throw new Error("hardware walks shadows");
  }

  nestedFault(): number {
    throw new Error("this vCPU has no p2m tables");
  }

  pageFault(errorCode: number): number {
    this.faults.push(errorCode);
    return this.onFault(errorCode, this.vcpu.faultLow, this.vcpu.faultHigh);
  }

  emulateNext(): boolean {
    return false;
  }

  writeCr0(): number {
    return Status.done;
  }

  writeCr3(): number {
    return Status.done;
  }

  writeCr4(): number {
    return Status.done;
  }

  writeEfer(): number {
    return Status.done;
  }

  invlpg(): boolean {
    return true;
  }

  hypercall(): number {
    return Status.done;
  }

  #slot(address: bigint, level: number): number {
    return Number(BigInt.asUintN(9, address >> BigInt(12 + 9 * (level - 1))));
  }
}

function low(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

function high(value: bigint): number {
  return Number(BigInt.asIntN(32, value >> 32n));
}
