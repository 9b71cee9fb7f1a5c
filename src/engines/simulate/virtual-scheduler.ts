/**
 * Runs threads in virtual time. Each thread has a time of its own. An access takes effect when its thread is the earliest
 * of all that can run, and its cost comes behind it: rewritten code asks `at` before an access, false means go on at once.
 *
 * Plain accesses to cells that a lock guards need no order in time, since the lock orders them (the race detector holds
 * them to that): they cost what they cost and never switch. Everything else is done in the order of (time, arrival).
 */
import { AccessKind } from "../coroutine/accessors.ts";
import { CallStacks, enter, isCoroutine } from "../coroutine/call-stacks.ts";
import type { Coroutine } from "../coroutine/call-stacks.ts";
import { SITES } from "../coroutine/sites.ts";
import { LockCell } from "../../locks/lock-area.ts";
import { LOCK_WORDS } from "../../memory/layout.ts";
import { Doorbell } from "../../memory/vcpu-area.ts";
import { Awakening } from "./awakening.ts";
import { CacheLines, LINE_SHIFT } from "./cache-lines.ts";
import type { CostModel } from "./cost-model.ts";
import { EventHeap, NEVER } from "./event-heap.ts";
import { LockWatch } from "./lock-watch.ts";
import type { TimeObserver, VirtualEnding, VirtualMachine } from "./virtual-time.ts";
import { Watchers } from "./watchers.ts";

const READ = AccessKind.read;
const FLUSH_ASKED = Doorbell.flush;
const LOCK_STATISTICS = 16;
/** Of a futex-style lock: who waits sleeps, and is woken by whoever looks at the number of sleepers. */
const FUTEX_STATE = LockCell.state;
const FUTEX_SLEEPERS = FUTEX_STATE + 1;
const NONE = -1;
/** What a thread does when it is chosen next. */
const Pending = { start: 0, access: 1, wait: 2, blocked: 3 } as const;
const { start: START, access: ACCESS, wait: WAIT, blocked: BLOCKED } = Pending;

/** Decides which thread of a simulation runs next. */
export class VirtualScheduler {
  /** Thread that runs. */
  current = 0;
  /** The time of the thread that runs. */
  now = 0;
  /** Accesses and waits that took effect. */
  events = 0;
  /** Switches from one thread to another. */
  switches = 0;
  /** Time of the earliest thread when it was chosen last. */
  clock = 0;
  /** Times at which a thread was chosen whose time lay before the clock: there must be none. */
  backwards = 0;
  /** Time that threads were blocked, and that they spent otherwise than in accesses. */
  blockedNanos = 0;
  spentNanos = 0;
  lines: CacheLines | null = null;
  locks: LockWatch | null = null;
  awakening: Awakening | null = null;
  observer: TimeObserver | null = null;
  readonly #kinds = SITES.kinds;
  readonly #stacks = new CallStacks();
  #heap = new EventHeap(0);
  #watchers = new Watchers(0, 0);
  #view: Int32Array = new Int32Array(0);
  #times = new Int32Array(0);
  #pending = new Uint8Array(0);
  #sites = new Int32Array(0);
  #cells = new Int32Array(0);
  #values = new Int32Array(0);
  #doorbells = new Int32Array(0);
  #ended: (((returned: unknown) => void) | undefined)[] = [];
  #threads = 0;
  #live = 0;
  #isRunning = false;
  #horizon = NEVER;
  #told = 0;
  /** The words of locks, and of those the areas of single ones, which hold their statistics, too. */
  #locksFrom = 0;
  #locksEnd = 0;
  #areasEnd = 0;
  /** The line whose watchers must look, and the cell that the lock watch must; -1 for none. And when they were written. */
  #writtenLine = NONE;
  #writtenLock = NONE;
  #writtenAt = 0;
  #effectAt = 0;

  /** Prepares for another machine. Threads are added before `run`. */
  prepare({ view, threads, layout, seed }: VirtualMachine, model: CostModel): void {
    const { locks, pageLocks } = layout.regions;
    this.lines = new CacheLines(view.length, threads, model);
    this.locks = new LockWatch(view, layout, threads);
    this.#heap = new EventHeap(threads);
    this.#watchers = new Watchers(view.length, threads);
    this.#view = view;
    this.#times = new Int32Array(threads);
    this.#pending = new Uint8Array(threads);
    this.#sites = new Int32Array(threads);
    this.#cells = new Int32Array(threads);
    this.#values = new Int32Array(threads);
    this.#doorbells = new Int32Array(threads).fill(NONE);
    this.#ended = [];
    this.#threads = this.#live = 0;
    this.#locksFrom = locks.offset;
    this.#locksEnd = pageLocks.offset + pageLocks.words;
    this.#areasEnd = locks.offset + locks.words;
    this.#writtenLine = this.#writtenLock = NONE;
    this.awakening = new Awakening(model, seed);
    this.current = this.now = this.events = this.switches = 0;
    this.clock = this.backwards = this.blockedNanos = this.spentNanos = this.#told = 0;
  }

  /** Adds a thread; `ended` is told what it returned. Returns its number. */
  add(coroutine: Coroutine, doorbell = NONE, ended?: (returned: unknown) => void): number {
    const thread = this.#threads++;
    this.#stacks.begin(thread, coroutine);
    this.#pending[thread] = START;
    this.#doorbells[thread] = doorbell;
    this.#ended[thread] = ended;
    this.#live++;
    this.#heap.enter(thread, 0);
    return thread;
  }

  /** Sum of the times of all threads, those that have ended included. */
  elapsed(): number {
    let sum = 0;
    for (let thread = 0; thread < this.#threads; thread++)
      sum += thread === this.current && this.#isRunning ? this.now : (this.#times[thread] ?? 0);
    return sum;
  }

  /** Threads that cannot go on, and the cells that they wait on. */
  blocked(): { readonly thread: number; readonly cell: number; readonly isHalted: boolean }[] {
    const found = [];
    for (let thread = 0; thread < this.#threads; thread++) {
      const cell = this.#cells[thread] ?? 0;
      if (this.#pending[thread] === BLOCKED)
        found.push({ thread, cell, isHalted: cell === this.#doorbells[thread] });
    }
    return found;
  }

  /** Runs until everybody has returned, the observer asks for the end, or nobody can go on. */
  run(): VirtualEnding {
    this.#isRunning = true;
    try {
      return this.#loop();
    } finally {
      this.#isRunning = false;
      this.#times[this.current] = this.now;
    }
  }

  /** The observer is told when this time is reached, if not before. */
  tellAt(time: number): void {
    this.#told = Math.min(this.#told, time);
    this.#horizon = Math.min(this.#horizon, this.#told);
  }

  /** The thread that runs spends time. */
  spend(nanos: number): void {
    if (!this.#isRunning) return;
    this.now += nanos;
    this.spentNanos += nanos;
  }

  /** Before an access to a cell. Whether to yield. */
  at(site: number, cell: number): boolean {
    if (!this.#isRunning) return false;
    if (this.#writtenLine !== NONE || this.#writtenLock !== NONE) this.#afterWrite();
    const isLock = cell >= this.#locksFrom && cell < this.#locksEnd;
    if (this.now >= this.#horizon && (isLock || !SITES.isPlain(site))) {
      const me = this.current;
      this.#sites[me] = site;
      this.#cells[me] = cell;
      this.#pending[me] = ACCESS;
      return true;
    }
    this.#perform(site, cell, isLock);
    return false;
  }

  /** Before a run of cells is filled that nobody else can reach. */
  fillAt(_site: number, cell: number, count: number): boolean {
    if (!this.#isRunning) return false;
    if (this.#writtenLine !== NONE || this.#writtenLock !== NONE) this.#afterWrite();
    const last = (cell + count - 1) >>> LINE_SHIFT;
    for (let line = cell >>> LINE_SHIFT; line <= last; line++)
      this.now += this.#caches().fill(line, this.current);
    this.events++;
    return false;
  }

  /** Before waiting for a cell to hold something else than `value`, or for a flush to be asked for. */
  waitAt(site: number, cell: number, value: number): boolean {
    if (!this.#isRunning) return false;
    if (this.#writtenLine !== NONE || this.#writtenLock !== NONE) this.#afterWrite();
    const me = this.current;
    this.#sites[me] = site;
    this.#cells[me] = cell;
    this.#values[me] = value;
    this.#pending[me] = WAIT;
    if (this.now >= this.#horizon) return true;
    return !this.#look(me);
  }

  /** Primitives of programs are no part of a machine. */
  on(): boolean {
    throw new Error("a primitive of the explorer's programs was used in a simulation");
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

  #loop(): VirtualEnding {
    let held = NONE;
    for (;;) {
      if (held === NONE && this.#heap.size === 0) return this.#live === 0 ? "done" : "deadlock";
      if (held !== NONE) this.#times[held] = this.now;
      this.#resumeAt(this.#next(held));
      if (this.clock >= this.#told) {
        this.#told = this.observer?.reached(this.clock) ?? NEVER;
        if (this.#told < 0) return "time";
        this.#horizon = Math.min(this.#heap.earliest(), this.#told);
      }
      held = this.#step(this.current);
    }
  }

  /** The earliest thread; the one that ran last stays outside of the heap if it is still that. */
  #next(held: number): number {
    if (held === NONE) return this.#heap.take();
    return this.#heap.earliest() > this.now ? held : this.#heap.exchange(held, this.now);
  }

  /** A thread has been chosen. */
  #resumeAt(me: number): void {
    this.current = me;
    this.now = this.#times[me] ?? 0;
    this.#horizon = Math.min(this.#heap.earliest(), this.#told);
    this.switches++;
    if (this.now < this.clock) this.backwards++;
    else this.clock = this.now;
  }

  /** Lets a thread go on until it switches; its number if it can go on later, else -1. */
  #step(me: number): number {
    const pending = this.#pending[me] ?? START;
    if (pending === ACCESS) {
      const cell = this.#cells[me] ?? 0;
      this.#perform(this.#sites[me] ?? 0, cell, cell >= this.#locksFrom && cell < this.#locksEnd);
    } else if (pending === WAIT && !this.#look(me)) {
      this.#times[me] = this.now;
      return NONE;
    }
    const hasEnded = this.#stacks.resume(me);
    if (this.#writtenLine !== NONE || this.#writtenLock !== NONE) this.#afterWrite();
    if (!hasEnded && this.#pending[me] !== BLOCKED) return me;
    this.#times[me] = this.now;
    if (hasEnded) {
      this.#live--;
      this.#pending[me] = START;
      this.#ended[me]?.(this.#stacks.returned);
    }
    return NONE;
  }

  #perform(site: number, cell: number, isLock: boolean): void {
    const kind = this.#kinds[site] ?? 0;
    const offset = isLock && cell < this.#areasEnd ? (cell - this.#locksFrom) & (LOCK_WORDS - 1) : 0;
    this.events++;
    // An instrument is no part of the machine: what counts in a lock costs nothing.
    if (offset >= LOCK_STATISTICS) return;
    const line = cell >>> LINE_SHIFT;
    const effectAt = this.now;
    this.now = effectAt + this.#caches().access(kind, line, this.current, effectAt);
    if (kind === READ) {
      if (offset === FUTEX_SLEEPERS) this.#wakeSleeper(cell - 1);
      return;
    }
    if (this.#watchers.heads[line] !== 0) {
      this.#writtenLine = line;
      this.#writtenAt = this.now;
    }
    if (!isLock) return;
    this.#effectAt = effectAt;
    this.locks?.attempted(this.current, cell, kind, effectAt);
    this.#writtenLock = cell;
  }

  /** What was written last can be seen now. */
  #afterWrite(): void {
    const cell = this.#writtenLock;
    const line = this.#writtenLine;
    this.#writtenLock = this.#writtenLine = NONE;
    if (cell !== NONE) this.locks?.written(this.current, cell, this.#view[cell] ?? 0, this.#effectAt);
    if (line === NONE) return;
    let node = this.#watchers.heads[line] ?? 0;
    while (node !== 0) {
      const next = this.#watchers.after(node);
      const thread = this.#watchers.threadOf(node);
      if (this.#pending[thread] === BLOCKED && this.#hears(thread))
        this.#wake(thread, this.#writtenAt, this.#cells[thread] === this.#doorbells[thread]);
      node = next;
    }
  }

  /** Whether what a thread waits for has come. */
  #isOver(thread: number): boolean {
    return this.#view[this.#cells[thread] ?? 0] !== this.#values[thread] || this.#isRung(thread);
  }

  #isRung(thread: number): boolean {
    const doorbell = this.#doorbells[thread] ?? NONE;
    return doorbell >= 0 && ((this.#view[doorbell] ?? 0) & FLUSH_ASKED) !== 0;
  }

  /** Whether a waiting thread notices that what it waits for has come. Who sleeps on a futex notices nothing but its bell. */
  #hears(thread: number): boolean {
    return this.#isOver(thread) && (!this.#sleeps(thread, this.#writtenAt) || this.#isRung(thread));
  }

  #sleeps(thread: number, time: number): boolean {
    const cell = this.#cells[thread] ?? 0;
    const isFutex = cell >= this.#locksFrom && cell < this.#areasEnd && this.#isFutexState(cell);
    return isFutex && time - (this.#times[thread] ?? 0) > (this.awakening?.spinLimit ?? 0);
  }

  #isFutexState(cell: number): boolean {
    return ((cell - this.#locksFrom) & (LOCK_WORDS - 1)) === FUTEX_STATE;
  }

  /** The thread that runs wakes one that sleeps on a futex, if there is any: the one that came first. */
  #wakeSleeper(cell: number): void {
    let node = this.#watchers.heads[cell >>> LINE_SHIFT] ?? 0;
    while (node !== 0) {
      const thread = this.#watchers.threadOf(node);
      node = this.#watchers.after(node);
      if (this.#cells[thread] !== cell || this.#pending[thread] !== BLOCKED) continue;
      if (!this.#sleeps(thread, this.now)) continue;
      this.#wake(thread, this.now, true);
      return;
    }
  }

  /** A waiting thread looks; false when it has to wait on, and is blocked now. */
  #look(me: number): boolean {
    const cell = this.#cells[me] ?? 0;
    this.events++;
    const isOver = this.#isOver(me);
    this.now += this.#caches().access(READ, cell >>> LINE_SHIFT, me, this.now);
    if (isOver) return true;
    this.locks?.blocked(me, cell);
    this.#pending[me] = BLOCKED;
    this.#watchers.watch(me, cell, this.#doorbells[me] ?? NONE);
    return false;
  }

  #wake(thread: number, at: number, isAsleep: boolean): void {
    this.#watchers.unwatch(thread);
    const since = this.#times[thread] ?? 0;
    const time = this.#wokenAt(since, at, isAsleep);
    this.blockedNanos += time - since;
    this.#times[thread] = time;
    this.#pending[thread] = WAIT;
    this.#heap.enter(thread, time);
    this.#horizon = Math.min(this.#horizon, time);
  }

  /** When a thread goes on. Whoever wakes a sleeper pays for it. */
  #wokenAt(since: number, at: number, isAsleep: boolean): number {
    const { awakening } = this;
    if (awakening === null) return at;
    const before = awakening.woken;
    const time = awakening.wokenAt(since, at, isAsleep);
    if (awakening.woken !== before) this.spend(awakening.wake);
    return time;
  }

  #caches(): CacheLines {
    if (this.lines === null) throw new Error("the simulation was not prepared");
    return this.lines;
  }
}

/** The one scheduler of this thread, by which rewritten modules know it. */
export const SCHEDULER: VirtualScheduler = new VirtualScheduler();
