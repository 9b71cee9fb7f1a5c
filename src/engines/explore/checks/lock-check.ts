/** Lock order by class, and what became of threads that cannot go on. */
import { judgeDeadlock } from "../../../checks/deadlock.ts";
import { LockWords } from "../../../checks/lock-words.ts";
import { LockGraph } from "../../../checks/lock-graph.ts";
import type { HeldLock, LockChain } from "../../../checks/lock-graph.ts";
import { LockCell, lockArea } from "../../../locks/lock-area.ts";
import { isOneOfMany, lockPhrase, lockSiteName } from "../../../locks/lock-class.ts";
import type { Layout } from "../../../memory/layout.ts";
import { AccessKind } from "../../coroutine/accessors.ts";
import { SITES } from "../../coroutine/sites.ts";
import type { Failure } from "../program-world.ts";
import { Ending, SCHEDULER, THREADS_MAX } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";
import { waitsOf } from "./waits.ts";

const { lock: LOCK, relock: RELOCK, unlock: UNLOCK, suspend: SUSPEND, read: READ } = AccessKind;

/** Watches the locks of a machine, or with no layout those of a small program. */
export class LockCheck implements ExecutionCheck {
  readonly #layout: Layout | null;
  readonly #threadName: (thread: number) => string;
  readonly #graph = new LockGraph();
  readonly #held: HeldLock[][] = Array.from({ length: THREADS_MAX }, () => []);
  readonly #failures: Failure[] = [];
  /** The words of a machine's locks; null for a small program, which has none. */
  readonly #words: LockWords | null;
  #written = -1;

  constructor(layout: Layout | null, threadName: (thread: number) => string) {
    this.#layout = layout;
    this.#threadName = threadName;
    this.#words = layout === null ? null : new LockWords(layout);
  }

  begin(): void {
    for (const held of this.#held) held.length = 0;
    this.#failures.length = 0;
    this.#written = -1;
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    const kind = scheduler.kind[thread] ?? READ;
    const cell = scheduler.cell[thread] ?? 0;
    if (this.#words === null) {
      if (kind >= UNLOCK) this.#programStep(scheduler, thread, kind, cell);
    } else if (kind !== READ && this.#words.lockAt(cell) >= 0) this.#written = cell;
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    if (this.#written >= 0) {
      const cell = this.#written;
      this.#written = -1;
      const lock = this.#words?.lockAt(cell) ?? 0;
      if (scheduler.view[cell] === thread + 1) {
        const place = this.#placeOf(scheduler, thread, lock);
        this.#want(thread, { lock, place });
        this.#held[thread]?.push({ lock, place });
      } else this.#drop(thread, lock);
    }
    // What it wants next counts even if it never gets it.
    if (this.#layout !== null || ((scheduler.live >>> thread) & 1) === 0) return;
    if (scheduler.kind[thread] === LOCK) this.#want(thread, wantedAt(scheduler, thread));
  }

  end(ending: number): readonly Failure[] {
    if (ending !== Ending.deadlock) return this.#failures;
    const waits = waitsOf(SCHEDULER, this.#layout);
    // A lock that is never got was wanted all the same.
    for (const { thread, on, lock } of waits)
      if (on === "lock" && lock !== undefined && this.#layout !== null)
        this.#want(thread, { lock, place: "where it waits" });
    const verdict = judgeDeadlock(waits, isLive, this.#threadName);
    if (verdict === undefined) return this.#failures;
    const { kind, message } = verdict;
    return [{ check: "deadlock", thread: -1, key: `deadlock ${kind}`, message }, ...this.#failures];
  }

  /** Only when a lock was taken is it known where: the place stands in its words. Those of pages have no such word. */
  #placeOf(scheduler: Scheduler, thread: number, lock: number): string {
    if (this.#layout === null || isOneOfMany(lock)) return placeOf(scheduler.site[thread] ?? 0);
    return lockSiteName(scheduler.view[lockArea(this.#layout, lock) + LockCell.site] ?? 0);
  }

  #programStep(scheduler: Scheduler, thread: number, kind: number, cell: number): void {
    if (kind === LOCK) this.#take(scheduler, thread, cell);
    else if (kind === RELOCK) this.#take(scheduler, thread, scheduler.other[thread] ?? 0);
    else if (kind === UNLOCK) this.#drop(thread, cell);
    else if (kind === SUSPEND) this.#drop(thread, scheduler.other[thread] ?? 0);
  }

  #take(scheduler: Scheduler, thread: number, lock: number): void {
    this.#held[thread]?.push({ lock, place: placeOf(scheduler.site[thread] ?? 0) });
  }

  #drop(thread: number, lock: number): void {
    const held = this.#held[thread];
    const at = held?.findLastIndex((each) => each.lock === lock) ?? -1;
    if (at >= 0) held?.splice(at, 1);
  }

  #want(thread: number, wanted: HeldLock): void {
    const held = this.#held[thread] ?? [];
    if (held.length === 0) return;
    const cycle = this.#graph.want({ thread, held: [...held], wanted });
    if (cycle === undefined) return;
    const names = cycle.map((chain) => this.#lockName(chain.wanted.lock)).toSorted();
    const message = `A deadlock is possible: ${cycle.map((chain) => this.#describe(chain)).join("; ")}.`;
    this.#failures.push({ check: "lock-graph", thread, key: `lock-graph ${names.join(" ")}`, message });
  }

  #describe({ thread, held, wanted }: LockChain): string {
    const list = held.map(({ lock, place }) => `${this.#lockName(lock)} (${place})`).join(", ");
    return `${this.#threadName(thread)} wants ${this.#lockName(wanted.lock)} (${wanted.place}) while it holds ${list}`;
  }

  #lockName(lock: number): string {
    return this.#layout === null ? `the lock at cell ${String(lock)}` : lockPhrase(lock);
  }
}

function isLive(thread: number): boolean {
  return ((SCHEDULER.live >>> thread) & 1) !== 0;
}

function wantedAt(scheduler: Scheduler, thread: number): HeldLock {
  return { lock: scheduler.cell[thread] ?? 0, place: placeOf(scheduler.site[thread] ?? 0) };
}

function placeOf(site: number): string {
  const { file, line, within } = SITES.site(site);
  return `${within}, ${file.slice(file.lastIndexOf("/") + 1)}:${String(line)}`;
}
