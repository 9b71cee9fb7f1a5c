/**
 * A number for what an execution's order of conflicting operations was: two executions of one Mazurkiewicz trace have the
 * same, and others hardly ever. Made of the edges between conflicting operations, whatever the order they are met in.
 */
import { AccessKind } from "../coroutine/accessors.ts";
import type { Observer, Scheduler } from "./scheduler.ts";
import { touches, writes } from "./strategies/dependence.ts";

const EXCHANGE = AccessKind.exchange;
const CELLS_MAX = 1 << 16;

/** Hashes one execution after another. */
export class TraceHash implements Observer {
  /** Of each cell, by its low bits: the last write, as a number of the operation, and the sum of the reads since. */
  readonly #lastWrite = new Int32Array(CELLS_MAX);
  readonly #readsSince = new Int32Array(CELLS_MAX);
  #sum = 0;
  /** The operation that is performed: what it is only shows afterwards, when it may have failed. */
  #operation = 0;
  #kind = 0;
  #cell = 0;
  #span = 0;
  #other = 0;
  #valueBefore = 0;
  #secondBefore = 0;

  begin(): void {
    this.#lastWrite.fill(0);
    this.#readsSince.fill(0);
    this.#sum = 0;
  }

  /** Of the execution so far. */
  get value(): number {
    return this.#sum;
  }

  beforeStep({ performed, kind, cell, span, other, view }: Scheduler, thread: number): void {
    this.#operation = mix(((performed[thread] ?? 0) << 5) | thread);
    this.#kind = kind[thread] ?? 0;
    this.#cell = cell[thread] ?? 0;
    this.#span = span[thread] ?? 1;
    this.#other = other[thread] ?? -1;
    this.#valueBefore = view[this.#cell] ?? 0;
    this.#secondBefore = view[this.#cell + 1] ?? 0;
  }

  afterStep({ view }: Scheduler): void {
    const kind = this.#kind;
    if (!touches(kind)) return;
    const cell = this.#cell;
    const isSame = view[cell] === this.#valueBefore && view[cell + 1] === this.#secondBefore;
    const isRead = !writes(kind) || (kind === EXCHANGE && isSame);
    for (let at = cell; at < cell + this.#span; at++) this.#touch(at, this.#operation, isRead);
    if (this.#other >= 0) this.#touch(this.#other, this.#operation, isRead);
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
