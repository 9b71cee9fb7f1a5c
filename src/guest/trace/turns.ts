/**
 * Who of the vCPUs that replay one trace may go on. What is kept in the recorded order is numbered through; whoever has
 * done one of these operations lets the next begin, on whatever thread that is.
 *
 * `strict` keeps every operation in order. `causal` keeps what changes a translation (pagetable stores, control register
 * writes, flushes) in order; an access may be made as soon as all that precedes it in this sense is done, beside accesses
 * of others and beside what follows it.
 */
import type { Vcpu } from "../../machine/vcpu.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { wake } from "../../memory/wait.ts";
import { RecordType } from "./record.ts";

const FILL = RecordType.fill;
const PF = RecordType.pf;

/** The orders in which a trace can be replayed. */
export type ReplayOrder = "strict" | "causal";

/** Cells that the replaying vCPUs share, as offsets in the control region. Each is a wait pair. */
export const TurnCell = {
  /** Number of ordered operations done. */
  done: 16,
  /** Number of ordered operations begun; used by `causal` only. */
  begun: 18,
  /** 1 when all shall stop. */
  stop: 20,
  /** Number of vCPUs that want no ordered operation to begin; used by `causal` only. */
  held: 22,
} as const;

/** One vCPU's part in the order. */
export class Turns {
  /** How often the turn came to this vCPU from another. */
  handovers = 0;
  readonly isCausal: boolean;
  readonly #vcpu: Vcpu;
  readonly #memory: SharedMemory;
  readonly #done: number;
  readonly #begun: number;
  readonly #stop: number;
  readonly #held: number;
  /** This vCPU's last ordered operation; -1 before its first. */
  #last = -1;
  /** Whether others may not know yet how far this vCPU got. */
  #isUnpublished = false;

  constructor(vcpu: Vcpu, order: ReplayOrder) {
    const { offset } = vcpu.layout.regions.control;
    this.isCausal = order === "causal";
    this.#vcpu = vcpu;
    this.#memory = vcpu.memory;
    this.#done = offset + TurnCell.done;
    this.#begun = offset + TurnCell.begun;
    this.#stop = offset + TurnCell.stop;
    this.#held = offset + TurnCell.held;
  }

  /** Whether records of a type are numbered. */
  isOrdered(type: number): boolean {
    return !this.isCausal || (type !== FILL && type !== PF);
  }

  /** Returns when all ordered operations before number `ordinal` are done; false when the replay stops. */
  reach(ordinal: number): boolean {
    if (this.#last === ordinal - 1) return true;
    this.publish();
    for (;;) {
      const done = this.#memory.loadWord(this.#done);
      if (done >= ordinal) return true;
      if (!this.#idle(this.#done, done)) return false;
    }
  }

  /** Begins ordered operation `ordinal` when it is its turn; false when the replay stops. */
  begin(ordinal: number): boolean {
    if (!this.reach(ordinal)) return false;
    if (ordinal !== 0 && this.#last !== ordinal - 1) this.handovers++;
    this.#last = ordinal;
    return !this.isCausal || this.#beginUnheld(ordinal);
  }

  /**
   * Ends the ordered operation that was begun. Nobody is woken: until this vCPU meets another's record, nobody else can
   * be next. In causal order the count is right at once, because accesses of others are judged by it.
   */
  end(): void {
    if (this.isCausal) this.#memory.storeWord(this.#done, this.#last + 1);
    this.#isUnpublished = true;
  }

  /** Lets others know how far this vCPU got. Whoever meets another vCPU's record has to. */
  publish(): void {
    if (!this.#isUnpublished) return;
    this.#isUnpublished = false;
    // In causal order others may have got further by now.
    if (!this.isCausal) this.#memory.storeWord(this.#done, this.#last + 1);
    wake(this.#memory, this.#done);
  }

  /** Number of ordered operations begun, if all of them are done; else -1. */
  quietAt(): number {
    const begun = this.#memory.loadWord(this.#begun);
    return begun === this.#memory.loadWord(this.#done) ? begun : -1;
  }

  /** Returns when no ordered operation runs, and lets none begin until `release`; false when the replay stops. */
  hold(): boolean {
    this.#memory.addWord(this.#held, 1);
    while (this.quietAt() < 0) {
      if (!this.#idle(this.#done, this.#memory.loadWord(this.#done))) {
        this.release();
        return false;
      }
    }
    return true;
  }

  /** Ends one hold. */
  release(): void {
    this.#memory.addWord(this.#held, -1);
    wake(this.#memory, this.#held);
  }

  #beginUnheld(ordinal: number): boolean {
    for (;;) {
      this.#memory.storeWord(this.#begun, ordinal + 1);
      const held = this.#memory.loadWord(this.#held);
      if (held === 0) return true;
      // Whoever holds may have looked before the store or after it; only after taking it back can both be sure.
      this.#memory.storeWord(this.#begun, ordinal);
      if (!this.#idle(this.#held, held)) return false;
    }
  }

  /** Waits for a cell to change, serving flushes; false when the replay stops. */
  #idle(cell: number, value: number): boolean {
    if (!this.#vcpu.poll() || this.#memory.loadWord(this.#stop) !== 0) return false;
    this.#vcpu.waitServing(cell, value);
    return true;
  }
}
