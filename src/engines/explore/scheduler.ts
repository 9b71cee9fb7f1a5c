/**
 * Decides which thread runs next, at every shared access. Rewritten code asks `at` before an access: false means go on
 * at once; true means yield, and the access is performed when the thread is chosen again (concurrency 3.0).
 *
 * Operations stand in arrays by thread, so that a point allocates nothing. Threads are numbered in the order in which
 * they begin, at most 32: sets of threads are bits of a word.
 */
import { AccessKind, FIRST_BLOCKING } from "../coroutine/accessors.ts";
import { SITES } from "../coroutine/sites.ts";
import { Doorbell } from "../../memory/vcpu-area.ts";
import { CallStacks, enter, isCoroutine } from "../coroutine/call-stacks.ts";
import type { Coroutine } from "../coroutine/call-stacks.ts";
import { RenewedMemory } from "./renewed-memory.ts";
import { RandomWalk } from "./strategies/random-walk.ts";
import type { Pulse } from "./pulse.ts";
import type { Strategy } from "./strategy.ts";

/** Most threads of an execution. */
export const THREADS_MAX = 32;

/** Most points of an execution. */
export const POINTS_MAX: number = 1 << 20;

/** How an execution ended. */
export const Ending = {
  /** Every thread returned. */
  done: 0,
  /** No thread can go on, and not all have returned. */
  deadlock: 1,
  /** More points than the bound. */
  capped: 2,
  /** The strategy has given the execution up: it would repeat others. */
  abandoned: 3,
  /** A check asked for the end. */
  stopped: 4,
} as const;

/** Sees every operation. For detectors, traces and audits; none is needed. */
export interface Observer {
  /** A thread is about to perform its pending operation. */
  beforeStep(scheduler: Scheduler, thread: number): void;
  /** What the last step of the thread did can be seen; it has come to its next operation, or to its end. */
  afterStep(scheduler: Scheduler, thread: number): void;
}

const SPIN = AccessKind.wait;
const LOCK = AccessKind.lock;
const RELOCK = AccessKind.relock;
const JOIN = AccessKind.join;
const SPAWN = AccessKind.spawn;
const FILL = AccessKind.fill;
const READ = AccessKind.read;
const FLUSH_ASKED = Doorbell.flush;
const NONE = -1;
/** Points between two signs of life: some milliseconds. */
const BEAT_POINTS = 1 << 14;

/** What the sync primitives of a program look like to the scheduler. */
export interface SyncObject {
  /** Its cell in the memory of the program. */
  readonly cell: number;
}

/** Runs the threads of one execution after another. */
export class Scheduler {
  /** Pending operation of each thread: its site, cell, cells covered, second cell (-1 for none) and operand. */
  readonly site = new Int32Array(THREADS_MAX);
  readonly cell = new Int32Array(THREADS_MAX);
  readonly span = new Int32Array(THREADS_MAX);
  readonly other = new Int32Array(THREADS_MAX);
  readonly operand = new Int32Array(THREADS_MAX);
  /** `AccessKind` of each pending operation. */
  readonly kind = new Uint8Array(THREADS_MAX);
  /** Operations that each thread has performed. */
  readonly performed = new Int32Array(THREADS_MAX);
  /** Cell of the doorbell of each thread, -1 when it has none. */
  readonly doorbell = new Int32Array(THREADS_MAX);
  /** Thread that runs. */
  current = 0;
  /** Threads begun so far. */
  threads = 0;
  /** Threads that have not returned, a bit each. */
  live = 0;
  /** Threads that can go on, as of the last decision. */
  enabled = 0;
  /** Scheduling points of this execution. */
  points = 0;
  /** Operations performed in this execution. */
  steps = 0;
  /** Points after which an execution is given up; at most `POINTS_MAX`. */
  pointsMax: number = POINTS_MAX;
  ending = 0;
  /** Where the thread shows that it is alive; null when nobody looks. */
  pulse: Pulse | null = null;
  /** Points until the next sign of life, or the bound. */
  #pausesAt = 0;
  /** The thread chosen at each point of the last execution, from index 1. */
  readonly chosen = new Uint8Array(POINTS_MAX + 2);
  observer: Observer | null = null;
  /** Memory of the program. */
  view: Int32Array = new Int32Array(0);
  readonly #kinds = SITES.kinds;
  readonly #spans = SITES.spans;
  readonly #stacks = new CallStacks();
  readonly #ended: (((returned: unknown) => void) | undefined)[] = [];
  #strategy: Strategy;
  #isRunning = false;
  #isStarting = false;
  /** Threads whose pending operation is of a kind that may have to wait. */
  #waiting = 0;
  #next = NONE;
  readonly #memory = new RenewedMemory();
  #sawStop = false;

  constructor(strategy: Strategy) {
    this.#strategy = strategy;
  }

  /** Memory for the executions that follow: what it holds now is what each of them finds. */
  adopt(view: Int32Array): void {
    this.view = view;
    this.#memory.adopt(view);
  }

  /** Makes the memory as it was adopted again. Costs in proportion to what was written since. */
  restore(): void {
    this.#memory.restore();
  }

  /** Declares that cells may be written without a scheduling point: private memory. */
  touch(cell: number, count: number): void {
    this.#memory.touch(cell, count);
  }

  /** A number that two executions share if they did and left the same, and otherwise hardly ever. */
  fingerprint(): number {
    return this.#memory.fingerprint(this.steps);
  }

  /** A cell that differs from what was adopted, -1 when none does: nothing may leak from one execution into another. */
  leak(): number {
    return this.#memory.leak();
  }

  /** The strategy from now on. */
  use(strategy: Strategy): void {
    this.#strategy = strategy;
  }

  /** Begins an execution. Threads are added before `run`. */
  begin(): void {
    this.current = 0; // Or an earlier execution would decide what is chosen first.
    this.threads = 0;
    this.live = 0;
    this.points = 0;
    this.steps = 0;
    this.ending = Ending.done;
    this.#pausesAt = Math.min(this.pointsMax, BEAT_POINTS);
    this.#waiting = 0;
    this.#isRunning = false;
    this.#sawStop = false;
    // However short it will be: many short ones, of a failure that is being cut down say, are no silence.
    this.pulse?.beat();
  }

  /**
   * Adds a thread; during an execution it runs to its first operation at once. `ended` is told what it returned. Returns
   * its number.
   */
  add(coroutine: Coroutine, doorbell = NONE, ended?: (returned: unknown) => void): number {
    const thread = this.threads++;
    if (thread >= THREADS_MAX) throw new RangeError(`more than ${String(THREADS_MAX)} threads`);
    this.#stacks.begin(thread, coroutine);
    this.#ended[thread] = ended;
    this.performed[thread] = 0;
    this.doorbell[thread] = doorbell;
    this.live |= 1 << thread;
    if (!this.#isRunning) return thread;
    this.#start(thread);
    this.#strategy.spawned(this, thread);
    return thread;
  }

  /** Runs the execution to its end. What a thread throws passes through; the execution is over then. */
  run(): number {
    this.#isRunning = true;
    try {
      const first = this.threads;
      for (let thread = 0; thread < first; thread++) this.#start(thread);
      // Threads without a single operation have run to their ends.
      if (this.live !== 0) this.#loop();
    } finally {
      this.#isRunning = false;
    }
    return this.ending;
  }

  /** Ends the execution at the next point. */
  stop(): void {
    this.#sawStop = true;
  }

  /** Before an access to a cell. Whether to yield. */
  at(site: number, cell: number): boolean {
    const kind = this.#kinds[site] ?? 0;
    if (kind !== READ) this.#memory.mark(cell);
    if (!this.#isRunning) return false;
    const me = this.current;
    this.site[me] = site;
    this.cell[me] = cell;
    this.span[me] = this.#spans[site] ?? 1;
    this.other[me] = NONE;
    this.kind[me] = kind;
    this.#waiting &= ~(1 << me);
    return this.#decide(me);
  }

  /** Before a run of cells is filled. */
  fillAt(site: number, cell: number, count: number): boolean {
    this.touch(cell, count);
    if (!this.#isRunning) return false;
    const me = this.current;
    this.site[me] = site;
    this.cell[me] = cell;
    this.span[me] = count;
    this.other[me] = NONE;
    this.kind[me] = FILL;
    this.#waiting &= ~(1 << me);
    return this.#decide(me);
  }

  /** Before waiting for a cell to hold something else than `value`. */
  waitAt(site: number, cell: number, value: number): boolean {
    if (!this.#isRunning) return false;
    const me = this.current;
    this.site[me] = site;
    this.cell[me] = cell;
    this.span[me] = 1;
    this.other[me] = this.doorbell[me] ?? NONE;
    this.operand[me] = value;
    this.kind[me] = SPIN;
    this.#waiting |= 1 << me;
    return this.#decide(me);
  }

  /** Before an operation of a primitive, with the second one that it concerns. */
  on(site: number, object: SyncObject, second?: SyncObject): boolean {
    const kind = this.#kinds[site] ?? 0;
    // Of a thread, the cell is its number; nothing is written.
    if (kind !== SPAWN && kind !== JOIN) this.#memory.mark(object.cell);
    if (second !== undefined) this.#memory.mark(second.cell);
    if (!this.#isRunning) return false;
    const me = this.current;
    this.site[me] = site;
    this.cell[me] = object.cell;
    this.span[me] = 1;
    this.other[me] = second === undefined ? NONE : second.cell;
    this.kind[me] = kind;
    if (kind >= FIRST_BLOCKING) this.#waiting |= 1 << me;
    else this.#waiting &= ~(1 << me);
    return this.#decide(me);
  }

  /** In the place of an accessor that must not be performed. */
  nothing(): void {}

  /** Whether what a call returned is a coroutine that has to be run. */
  isCoroutine(value: unknown): value is Coroutine {
    return isCoroutine(value);
  }

  /** Runs a call. What it returned; or the scheduler itself if the call has switched, and its caller has to. */
  call(coroutine: Coroutine): unknown {
    const result = enter(coroutine);
    if (result.done === true) return result.value;
    this.#stacks.suspend(coroutine);
    return this;
  }

  /** Whether a thread's pending operation is possible now. */
  canGoOn(thread: number): boolean {
    const cell = this.cell[thread] ?? 0;
    const { view } = this;
    switch (this.kind[thread] ?? 0) {
      case SPIN: {
        const doorbell = this.other[thread] ?? NONE;
        return (
          view[cell] !== this.operand[thread] ||
          (doorbell >= 0 && ((view[doorbell] ?? 0) & FLUSH_ASKED) !== 0)
        );
      }
      case LOCK:
        return view[cell] === 0;
      case RELOCK:
        // A signal takes the thread's bit out of the condition's cell.
        return ((view[cell] ?? 0) & (1 << thread)) === 0 && view[this.other[thread] ?? 0] === 0;
      case JOIN:
        return ((this.live >>> cell) & 1) === 0;
      default:
        return true;
    }
  }

  #start(thread: number): void {
    const before = this.current;
    const wasStarting = this.#isStarting;
    this.current = thread;
    this.#isStarting = true;
    if (this.#stacks.resume(thread)) this.#end(thread);
    this.#isStarting = wasStarting;
    this.current = before;
  }

  #loop(): void {
    this.#next = this.#choose();
    while (this.#next >= 0) {
      const thread = this.#next;
      this.current = thread;
      this.#commit(thread);
      if (!this.#stacks.resume(thread)) continue;
      this.#end(thread);
      if (this.observer !== null) this.observer.afterStep(this, thread);
      if (this.live === 0) break;
      this.#next = this.#choose();
    }
  }

  #end(thread: number): void {
    this.live &= ~(1 << thread);
    this.#waiting &= ~(1 << thread);
    this.#ended[thread]?.(this.#stacks.returned);
  }

  #decide(me: number): boolean {
    if (this.#isStarting) return true;
    if (this.observer !== null) this.observer.afterStep(this, me);
    const next = this.#choose();
    if (next === me) {
      this.#commit(me);
      return false;
    }
    this.#next = next;
    return true;
  }

  #commit(thread: number): void {
    this.steps++;
    this.performed[thread] = (this.performed[thread] ?? 0) + 1;
    this.#strategy.committed(this, thread);
    if (this.observer !== null) this.observer.beforeStep(this, thread);
  }

  /** The thread that goes on, or -1 when the execution is over. */
  #choose(): number {
    if (++this.points > this.#pausesAt && this.#pause()) return this.#over(Ending.capped);
    if (this.#sawStop) return this.#over(Ending.stopped);
    let enabled = this.live;
    let waiting = this.#waiting;
    while (waiting !== 0) {
      const thread = 31 - Math.clz32(waiting);
      waiting &= ~(1 << thread);
      if (!this.canGoOn(thread)) enabled &= ~(1 << thread);
    }
    this.enabled = enabled;
    if (enabled === 0) return this.#over(Ending.deadlock);
    const next = this.#strategy.choose(this, enabled);
    if (next < 0) return this.#over(Ending.abandoned);
    this.chosen[this.points] = next;
    return next;
  }

  /** A sign of life, now and then; whether the execution has had all the points that it may have. */
  #pause(): boolean {
    if (this.points > this.pointsMax) return true;
    this.pulse?.beat();
    this.#pausesAt = Math.min(this.pointsMax, this.#pausesAt + BEAT_POINTS);
    return false;
  }

  #over(ending: number): number {
    this.ending = ending;
    return NONE;
  }
}

/** The one scheduler of this thread, by which rewritten modules know it. */
export const SCHEDULER: Scheduler = new Scheduler(new RandomWalk(0));
