/**
 * The part of a simulation that is measured: from a tenth of its length after the last vCPU's program has begun its first
 * round, for as long as was asked. What happens before, booting the guest above all, is paid for and not counted.
 */
import { NEVER } from "./event-heap.ts";
import type { TimeObserver } from "./virtual-time.ts";

/** Part of the window's length that passes before it. */
const WARM_UP = 0.1;
/** No simulation is longer: times are int32. */
export const LATEST = 2_000_000_000;

/** Told at the two ends of the window. */
export interface WindowEnds {
  begin(time: number): void;
  end(time: number): void;
}

/** Opens and closes the window. */
export class Window implements TimeObserver {
  /** When it began, -1 before. */
  from = -1;
  /** When it ended, -1 before. */
  to = -1;
  readonly #nanos: number;
  readonly #ends: WindowEnds;
  #yetToBegin: number;
  #opensAt = NEVER;

  constructor(nanos: number, vcpus: number, ends: WindowEnds) {
    this.#nanos = nanos;
    this.#yetToBegin = vcpus;
    this.#ends = ends;
  }

  /** A vCPU's program begins its first round. When the window will open: `NEVER` while others have not begun. */
  begun(time: number): number {
    if (--this.#yetToBegin === 0) this.#opensAt = time + Math.round(this.#nanos * WARM_UP);
    return this.#opensAt;
  }

  reached(time: number): number {
    if (this.from < 0 && time >= this.#opensAt) {
      this.from = time;
      this.#ends.begin(time);
    }
    if (this.from >= 0 && time >= this.from + this.#nanos) {
      this.close(time);
      return -1;
    }
    if (time >= LATEST) return -1;
    if (this.from < 0) return Math.min(this.#opensAt, LATEST);
    return this.from + this.#nanos;
  }

  /** Nothing happens any more. */
  close(time: number): void {
    if (this.from < 0 || this.to >= 0) return;
    this.to = time;
    this.#ends.end(time);
  }
}
