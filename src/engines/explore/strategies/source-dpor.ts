/**
 * Source-DPOR with sleep sets (Abdulla et al., POPL 2014, algorithm 1; concurrency 3.8): of all schedules that differ only
 * in the order of independent operations, one is executed. At each new state the pending operations are compared with
 * those performed; of two that race, the other order is executed too.
 *
 * Complete when executions end, all that varies is the schedule, and a failed assertion does not end its thread.
 */
import { AccessKind } from "../../coroutine/accessors.ts";
import { Ending, THREADS_MAX } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { Learnt, Search } from "../strategy.ts";
import { EventLog } from "./event-log.ts";
import { countOf, lowestOf, nthAfter } from "./thread-set.ts";
import { countOfExecutions, searchedShare } from "./tree-estimate.ts";

const YIELD = AccessKind.yield;
/** A thread that has paused so often while nothing was written waits for a write. */
const PAUSES_MOST = 3;

/** A state of the execution, before the event with its number. */
interface State {
  /** Threads that can go on. */
  readonly enabled: number;
  /** Threads to be explored from here, with those that were. */
  backtrack: number;
  /** Threads whose next operation would lead to what was executed already. */
  sleep: number;
  /** Threads explored, with the one that is. */
  explored: number;
  /** Thread that is explored now. */
  chosen: number;
}

/** Executes at least one schedule of each class of equivalent ones. */
export class SourceDpor implements Search {
  readonly name = "dpor";
  readonly #states: State[] = [];
  readonly #log = new EventLog();
  #current = -1;
  /** How often each thread has paused since anything was written. */
  readonly #pauses = new Int32Array(THREADS_MAX);
  /** Whether a thread has ever been kept from trying again. */
  #hasFolded = false;
  #isFirst = true;
  #isOver = false;
  #executions = 0;
  #blocked = 0;
  #cut = 0;

  /** Executions given up because all that could go on was asleep. */
  get blocked(): number {
    return this.#blocked;
  }

  /** Executions that came to their end. */
  get executions(): number {
    return this.#executions;
  }

  /** Whether every schedule of the program is equivalent to one that was executed to its end. */
  get hasAll(): boolean {
    return this.#isOver && this.#cut === 0;
  }

  begin(): boolean {
    if (this.#isOver) return false;
    if (!this.#isFirst && !this.#advance()) {
      this.#isOver = true;
      return false;
    }
    this.#isFirst = false;
    this.#current = -1;
    this.#pauses.fill(0);
    // The last choice is a new one, unless there is none.
    this.#log.begin(Math.max(0, this.#states.length - 1));
    return true;
  }

  choose(scheduler: Scheduler, able: number): number {
    const depth = this.#log.settle(scheduler);
    this.#noteProgress();
    const known = this.#states[depth];
    if (known !== undefined) return known.chosen;
    const enabled = this.#withoutIdle(able);
    this.#analyse(scheduler);
    const sleep = this.#stillAsleep(scheduler, this.#states[depth - 1]);
    const chosen = this.#firstChoice(enabled & ~sleep);
    if (chosen < 0) return chosen;
    const bit = 1 << chosen;
    this.#states.push({ enabled, backtrack: bit, sleep, explored: bit, chosen });
    return chosen;
  }

  committed(scheduler: Scheduler, thread: number): void {
    this.#log.perform(scheduler, thread);
    this.#current = thread;
  }

  spawned(_: Scheduler, thread: number): void {
    this.#log.spawned(thread);
  }

  end(scheduler: Scheduler, ending: number): void {
    this.#log.settle(scheduler);
    if (ending === Ending.abandoned) {
      this.#blocked++;
      return;
    }
    // What could not go on may have raced with what took its place.
    if (ending !== Ending.done) this.#analyse(scheduler);
    if (ending === Ending.capped || ending === Ending.stopped) this.#cut++;
    this.#executions++;
  }

  completed(): string | null {
    if (!this.#isOver) return null;
    const count = countOfExecutions(this.#executions);
    if (this.#cut > 0) return `inconclusive: ${String(this.#cut)} of ${count} were cut short`;
    const folded = this.#hasFolded ? `, with ${String(PAUSES_MOST)} tries of a loop before others go on` : "";
    return `no failure in any schedule (${count} for all${folded})`;
  }

  /** By the choices that are known to be needed: more may be found. */
  remaining(): number | null {
    if (this.#isOver) return 0;
    const share = searchedShare(this.#states.map(branching));
    const executed = this.#executions + this.#blocked;
    return share === 0 ? null : Math.max(0, executed / share - executed);
  }

  learnt(): Learnt {
    return {};
  }

  adopt(): void {
    // A search goes by its own stack.
  }

  #noteProgress(): void {
    if (this.#log.lastWrites) this.#pauses.fill(0);
    else if (this.#log.lastKind === YIELD) {
      this.#pauses[this.#current] = (this.#pauses[this.#current] ?? 0) + 1;
    }
  }

  /** A loop that tries again and again would see the same: it goes on when something was written. */
  #withoutIdle(able: number): number {
    let others = able;
    for (let set = able; set !== 0; set &= set - 1) {
      const thread = lowestOf(set);
      if ((this.#pauses[thread] ?? 0) >= PAUSES_MOST) others &= ~(1 << thread);
    }
    if (others === 0 || others === able) return able;
    this.#hasFolded = true;
    return others;
  }

  /** The thread that runs if it may and does not pause; few preemptions make for schedules that are easy to read. */
  #firstChoice(awake: number): number {
    if (awake === 0) return -1;
    const goesOn = this.#current >= 0 && this.#log.lastKind !== YIELD;
    const bit = goesOn ? 1 << this.#current : 0;
    return (awake & bit) === 0 ? nthAfter(awake, this.#current, 0) : this.#current;
  }

  /** Those that slept before the last event and whose pending operation is independent of it. */
  #stillAsleep(scheduler: Scheduler, before: State | undefined): number {
    let left = before?.sleep ?? 0;
    for (let set = left; set !== 0; set &= set - 1) {
      const sleeper = lowestOf(set);
      if (this.#log.isLastDependent(scheduler, sleeper)) left &= ~(1 << sleeper);
    }
    return left;
  }

  /** Adds what must be explored because of races between performed and pending operations. */
  #analyse(scheduler: Scheduler): void {
    for (let live = scheduler.live; live !== 0; live &= live - 1) {
      const thread = lowestOf(live);
      const bit = 1 << thread;
      // Nothing is new between what has happened and an operation that was compared with it before.
      if (!this.#log.isNew(thread) && !this.#log.isLastDependent(scheduler, thread)) continue;
      this.#log.forEachRace(scheduler, thread, (event, initials) => {
        const state = this.#states[event];
        if (state === undefined) return;
        const useful = initials & state.enabled;
        if (useful === 0) state.backtrack |= state.enabled;
        else if ((useful & state.backtrack) === 0)
          state.backtrack |= (useful & bit) !== 0 ? bit : useful & -useful;
      });
    }
  }

  /** Goes back to the last state from which something is left to explore. */
  #advance(): boolean {
    for (let state = this.#states.at(-1); state !== undefined; state = this.#states.at(-1)) {
      state.sleep |= 1 << state.chosen;
      const left = state.backtrack & ~state.sleep;
      if (left !== 0) {
        state.chosen = lowestOf(left);
        state.explored |= 1 << state.chosen;
        return true;
      }
      this.#states.pop();
    }
    return false;
  }
}

function branching(state: State): { done: number; all: number } {
  return { done: countOf(state.explored) - 1, all: countOf(state.backtrack) };
}
