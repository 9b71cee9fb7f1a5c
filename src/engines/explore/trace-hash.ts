/**
 * A number for what an execution's order of conflicting operations was: two executions of one Mazurkiewicz trace have the
 * same, and others hardly ever. Made of the edges between conflicting operations, whatever the order they are met in.
 */
import { AccessKind } from "../coroutine/accessors.ts";
import type { Observer, Scheduler } from "./scheduler.ts";

const { read, wait, join } = AccessKind;
const CELLS_MAX = 1 << 16;

/** Hashes one execution after another. */
export class TraceHash implements Observer {
  /** Of each cell, by its low bits: the last write, as a number of the operation, and the sum of the reads since. */
  readonly #lastWrite = new Int32Array(CELLS_MAX);
  readonly #readsSince = new Int32Array(CELLS_MAX);
  #sum = 0;

  begin(): void {
    this.#lastWrite.fill(0);
    this.#readsSince.fill(0);
    this.#sum = 0;
  }

  /** Of the execution so far. */
  get value(): number {
    return this.#sum;
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    const operation = mix(((scheduler.performed[thread] ?? 0) << 5) | thread);
    const kind = scheduler.kind[thread] ?? 0;
    const isRead = kind === read || kind === wait || kind === join;
    this.#touch(scheduler.cell[thread] ?? 0, operation, isRead);
    const other = scheduler.other[thread] ?? -1;
    if (other >= 0) this.#touch(other, operation, isRead);
  }

  afterStep(): void {
    // What an operation left does not say in which order it came.
  }

  #touch(cell: number, operation: number, isRead: boolean): void {
    const at = cell & (CELLS_MAX - 1);
    const write = this.#lastWrite[at] ?? 0;
    if (isRead) {
      this.#readsSince[at] = ((this.#readsSince[at] ?? 0) + mix(operation)) | 0;
      this.#sum = (this.#sum + mix(operation ^ mix(write))) | 0;
      return;
    }
    this.#sum = (this.#sum + mix(operation ^ mix(write) ^ mix((this.#readsSince[at] ?? 0) + 1))) | 0;
    this.#lastWrite[at] = operation;
    this.#readsSince[at] = 0;
  }
}

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return mixed ^ (mixed >>> 16);
}
