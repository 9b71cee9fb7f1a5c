/**
 * The toolstack as its program sees it. Calls go to the domain's control interface; between two of them the program can
 * be parked, as vCPUs can between two operations.
 */
import type { MemoryType, Toolstack } from "../../guest/ports.ts";
import { Random } from "../../guest/random.ts";
import { MEMORY_TYPES } from "../../hypervisor/p2m-type.ts";
import type { DomainControl } from "../../hypervisor/domain-control.ts";
import type { Machine } from "../../hypervisor/machine.ts";
import { PARK_CELL } from "../../machine/parking.ts";
import { DomctlAnswer } from "../../memory/domain-area.ts";
import { vcpuId } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import { ControlCell, ToolstackState } from "./control.ts";
import type { Control } from "./control.ts";

const LOOK_EVERY_MS = 1;

/** A toolstack on a thread of its own. */
export class WorkerToolstack implements Toolstack {
  readonly #machine: Machine;
  readonly #control: Control;
  readonly #domain: DomainControl;
  readonly #random: Random;
  #calls = 0;

  constructor(machine: Machine, control: Control, domain: DomainControl, seed: number) {
    this.#machine = machine;
    this.#control = control;
    this.#domain = domain;
    this.#random = new Random(seed, machine.config.vcpus);
  }

  /** Calls made so far. */
  get calls(): number {
    return this.#calls;
  }

  running(): boolean {
    this.#parkIfAsked();
    return this.#control.read(ControlCell.over) === 0;
  }

  removePage(gfn: number): void {
    this.#begin();
    this.#domain.removePage(gfn);
  }

  addPage(gfn: number): boolean {
    this.#begin();
    return this.#domain.addPage(gfn);
  }

  movePage(gfn: number): boolean {
    this.#begin();
    return this.#domain.movePage(gfn);
  }

  setPageType(gfn: number, type: MemoryType): boolean {
    this.#begin();
    return this.#domain.types.setType(gfn, MEMORY_TYPES[type]);
  }

  populateOnDemand(gfn: number): boolean {
    this.#begin();
    return this.#domain.types.populateOnDemand(gfn);
  }

  mapDevice(gfn: number): boolean {
    this.#begin();
    return this.#domain.types.mapDevice(gfn);
  }

  nominatePage(gfn: number): boolean {
    this.#begin();
    return this.#domain.types.nominate(gfn);
  }

  evictPage(gfn: number): boolean {
    this.#begin();
    return this.#domain.types.evict(gfn);
  }

  requestedPage(): number {
    this.#begin();
    return this.#domain.types.request();
  }

  loadPage(gfn: number, from: Int32Array, at: number, words: number): boolean {
    this.#begin();
    return this.#domain.types.load(gfn, { words: from, at, count: words });
  }

  setAllocation(pages: number): number {
    this.#begin();
    return this.#domain.setAllocation(pages);
  }

  allocation(): number {
    this.#begin();
    return this.#domain.allocation();
  }

  deviceWrite(address: number, value: number): void {
    this.#begin();
    this.#domain.deviceWrite(address, value);
  }

  enableLogDirty(): number {
    this.#begin();
    return this.#domain.dirty.enable();
  }

  disableLogDirty(): number {
    this.#begin();
    return this.#domain.dirty.disable();
  }

  harvestDirty(bitmap: Int32Array, isPaused: boolean): number {
    const { dirty } = this.#domain;
    let answer: number;
    do {
      this.#begin();
      answer = isPaused ? dirty.clean(bitmap) : dirty.cleanRunning(bitmap);
    } while (answer === DomctlAnswer.again);
    return answer;
  }

  peekDirty(bitmap: Int32Array): number {
    this.#begin();
    return this.#domain.dirty.peek(bitmap);
  }

  trackVram(first: number, pages: number, bitmap: Int32Array, milliseconds: number): number {
    this.#begin();
    return this.#domain.vram.track(first, pages, bitmap, milliseconds);
  }

  pauseDomain(): void {
    this.#begin();
    this.#domain.pause.pause();
  }

  unpauseDomain(): void {
    this.#begin();
    this.#domain.pause.unpause();
  }

  readPage(gfn: number, into: Int32Array, at: number, words: number): boolean {
    this.#begin();
    return this.#domain.readPage(gfn, into, at, words);
  }

  violation(check: string, message: string): void {
    this.#domain.base.vcpu.reportViolation(check, message);
  }

  destroy(): void {
    this.#begin();
    this.#domain.beginDestroy();
  }

  letRun(operations: number): void {
    const until = this.#beats() + operations;
    while (this.running() && this.#beats() < until && this.#domain.types.request() < 0) {
      this.#control.sleepWhile(ControlCell.over, 0, LOOK_EVERY_MS);
    }
  }

  random(bound: number): number {
    return this.#random.below(bound);
  }

  #begin(): void {
    this.#calls++;
    this.#parkIfAsked();
  }

  #parkIfAsked(): void {
    const control = this.#control;
    while (control.read(PARK_CELL) === 1) {
      control.write(ControlCell.toolstack, ToolstackState.parked);
      control.waitWhile(PARK_CELL, 1);
      control.write(ControlCell.toolstack, ToolstackState.running);
    }
  }

  /** Guest operations of all vCPUs so far. */
  #beats(): number {
    const { memory, layout, config } = this.#machine;
    let sum = 0;
    for (let id = 0; id < config.vcpus; id++) {
      sum += memory.loadWord(vcpuArea(layout, vcpuId(id)) + VcpuCell.heartbeat) >>> 0;
    }
    return sum;
  }
}
