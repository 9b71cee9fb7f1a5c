/**
 * The words through which the main thread leads the workers of a run: the start gate, the way out, and the toolstack's
 * parking. They lie in the control region of the machine's memory. All waiting here is the engine's own, before a
 * program starts and after it ended, so it is not `waitWhile`'s.
 */
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";

/** Offsets in the control region, beside PARK_CELL of the machine. Each is a wait pair. */
export const ControlCell = {
  /** Workers that stand at the gate. */
  arrived: 32,
  /** 1 once the gate is open. */
  open: 34,
  /** One bit for each vCPU whose program has ended. */
  left: 36,
  /** A `WayOut`. */
  wayOut: 38,
  /** A `ToolstackState`. */
  toolstack: 40,
  /** 1 once programs shall end by themselves. */
  over: 42,
  /** Number of programs that threw an error. */
  threw: 44,
} as const;

/** What a worker does after its program has ended: nothing yet, take its vCPU down and leave, or just leave. */
export const WayOut = { wait: 0, tearDown: 1, leave: 2 } as const;

/** Whether the toolstack's program may be changing the machine. */
export const ToolstackState = { off: 0, running: 1, parked: 2, ended: 3 } as const;

const LONGEST_SLEEP_MS = 1000;

/** The control words of a machine, as either side uses them. */
export class Control {
  readonly #memory: SharedMemory;
  readonly #base: number;

  constructor(memory: SharedMemory, layout: Layout) {
    this.#memory = memory;
    this.#base = layout.regions.control.offset;
  }

  /** The word at an offset. */
  read(offset: number): number {
    return this.#memory.loadWord(this.#base + offset);
  }

  /** Sets the word at an offset and wakes whoever waits for it to change. */
  write(offset: number, value: number): void {
    this.#memory.storeWord(this.#base + offset, value);
    Atomics.notify(this.#memory.view, this.#base + offset);
  }

  /** Adds one to the word at an offset. */
  increment(offset: number): void {
    this.#memory.addWord(this.#base + offset, 1);
  }

  /** Sets bits of the word at an offset. */
  setBits(offset: number, bits: number): void {
    this.#memory.orWord(this.#base + offset, bits);
  }

  /** Returns once the word differs from `value`. For workers: blocks the thread. */
  waitWhile(offset: number, value: number): void {
    while (this.read(offset) === value) this.sleepWhile(offset, value, LONGEST_SLEEP_MS);
  }

  /** As `waitWhile`, but for so long at most. */
  sleepWhile(offset: number, value: number, millis: number): void {
    Atomics.wait(this.#memory.view, this.#base + offset, value, millis);
  }
}
