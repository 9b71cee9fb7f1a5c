/** Two threads that take turns on one memory, for what only two can show. */
import { SharedMemory } from "../../memory/shared-memory.ts";
import type { SharedMemoryHandle } from "../../memory/shared-memory.ts";
import { RunError } from "../errors.ts";

const LINE_WORDS = 16;
/** Cells of the pair's own, each in a line of its own: whose turn it is, and whether what is measured is over. */
const TURN = 0;
const OVER = LINE_WORDS;
/** Lines and words behind them, for what is measured. */
export const DATA: number = 4 * LINE_WORDS;
const DATA_LINES = 1024;

/** A partner that has not been heard of for so long has died. */
const PATIENCE_MS = 10_000;
const LOOKS_BETWEEN = 4096;

/** One of the two. Number 0 leads: it begins, and says when it is over. */
export class Partner {
  readonly me: 0 | 1;
  readonly memory: SharedMemory;

  constructor(me: 0 | 1, handle: SharedMemoryHandle) {
    this.me = me;
    this.memory = SharedMemory.attach(handle);
  }

  /** A memory for two. */
  static memory(): SharedMemoryHandle {
    return SharedMemory.create(DATA + DATA_LINES * LINE_WORDS).handle;
  }

  /** It is the other's turn; returns when it is this one's again. */
  exchangeTurns(): void {
    this.passTurn();
    this.takeTurn();
  }

  /** It is the other's turn. */
  passTurn(): void {
    this.memory.storeWord(TURN, 1 - this.me);
  }

  /** Returns when it is this one's turn. Throws RunError if the other is not heard of. */
  takeTurn(): void {
    let until = Infinity;
    for (let look = 1; this.memory.loadWord(TURN) !== this.me; look++) {
      if (look % LOOKS_BETWEEN !== 0) continue;
      if (until === Infinity) until = performance.now() + PATIENCE_MS;
      if (performance.now() > until) throw new RunError("the other thread of a pair does not answer");
    }
  }

  /** The leader measures, and says so at the end; the other does its part until then, however often. */
  lead<Result>(measure: () => Result): Result {
    this.memory.storeWord(OVER, 0);
    this.exchangeTurns();
    const result = measure();
    this.memory.storeWord(OVER, 1);
    this.exchangeTurns();
    return result;
  }

  /** The other's part in what the leader measures. */
  follow(part: () => void): void {
    this.takeTurn();
    this.passTurn();
    part();
    this.takeTurn();
    this.passTurn();
  }

  /** Whether what the leader measures is over. */
  isOver(): boolean {
    return this.memory.loadWord(OVER) === 1;
  }
}
