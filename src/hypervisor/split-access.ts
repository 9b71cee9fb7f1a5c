/**
 * Accesses to two pages of which a device has one, or both, or of which one is read-only memory. As on hardware, the guest's tables permit both before a byte
 * moves; memory's bytes are then read or stored under the paging lock, and each device gets its own once that is dropped.
 * A compare-exchange stores nothing, as with a device alone: no bus could make it one.
 */
import { Counter } from "../memory/counters.ts";
import { NO_MFN, PAGE_BYTES } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { Operation } from "../machine/exits.ts";
import { addResultByte, valueByte } from "../machine/operand-bytes.ts";
import type { PagingBase } from "./paging-base.ts";

const PAGE_MASK = PAGE_BYTES - 1;
/** In place of a device's gfn: the page is memory, or nothing is left to do. */
const NO_DEVICE = -1;

/** What a mode does about a store to guest memory that is not the guest's own instruction's. */
export interface StoreWatch {
  /** A page is about to be stored to. */
  beforeStore(frame: Mfn): void;
  /** So many bytes at an offset of the page have been stored. */
  afterStore(frame: Mfn, offset: number, size: number): void;
}

/** Executes the vCPU's operation in flight where it is split. */
export class SplitAccess {
  readonly #base: PagingBase;
  readonly #watch: StoreWatch;
  /** Devices that have yet to be asked. */
  #firstDevice = NO_DEVICE;
  #secondDevice = NO_DEVICE;

  constructor(base: PagingBase, watch: StoreWatch) {
    this.#base = base;
    this.#watch = watch;
  }

  /**
   * Does memory's part and keeps the devices' for `askDevices`. NO_MFN is a device's page; `discards` says which page keeps
   * what it has: bit 0 the first, bit 1 the second. Callers hold the lock.
   */
  execute(first: Mfn, firstGfn: number, second: Mfn, secondGfn: number, discards: number): void {
    const { vcpu } = this.#base;
    this.#firstDevice = first === NO_MFN ? firstGfn : NO_DEVICE;
    this.#secondDevice = second === NO_MFN ? secondGfn : NO_DEVICE;
    vcpu.frame = first;
    vcpu.exchanged = false;
    if (vcpu.operation !== Operation.store) {
      vcpu.resultLow = 0;
      vcpu.resultHigh = 0;
    }
    const offset = vcpu.addressLow & PAGE_MASK;
    const inFirst = PAGE_BYTES - offset;
    const isRead = vcpu.operation !== Operation.store;
    if (first !== NO_MFN && (isRead || (discards & 1) === 0)) this.#inMemory(first, offset, 0, inFirst);
    if (second !== NO_MFN && (isRead || (discards & 2) === 0))
      this.#inMemory(second, 0, inFirst, vcpu.size - inFirst);
  }

  /** Gives the devices their parts of what `execute` began, if it left any. Callers have dropped the lock. */
  askDevices(): void {
    const { vcpu, device } = this.#base;
    const first = this.#firstDevice;
    const second = this.#secondDevice;
    this.#firstDevice = NO_DEVICE;
    this.#secondDevice = NO_DEVICE;
    const offset = vcpu.addressLow & PAGE_MASK;
    const inFirst = PAGE_BYTES - offset;
    // Of two devices the first is the one that the vCPU names in the end.
    if (second >= 0) device.executePart(vcpu, second, 0, inFirst, vcpu.size - inFirst);
    if (first >= 0) device.executePart(vcpu, first, offset, 0, inFirst);
  }

  /** Does the operation's `size` bytes from its byte `from` on, at an offset in a page of memory. */
  #inMemory(frame: Mfn, offset: number, from: number, size: number): void {
    const { vcpu, memory } = this.#base;
    const start = frame * PAGE_BYTES + offset;
    if (vcpu.operation !== Operation.store) {
      for (let index = 0; index < size; index++)
        addResultByte(vcpu, from + index, memory.loadByte(start + index));
      return;
    }
    this.#watch.beforeStore(frame);
    for (let index = 0; index < size; index++) memory.storeByte(start + index, valueByte(vcpu, from + index));
    vcpu.counters.add(Counter.emulated_stores);
    this.#watch.afterStore(frame, offset, size);
  }
}
