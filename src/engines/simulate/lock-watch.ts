/**
 * What happens to each lock in virtual time, exactly: who began to want it, got it and gave it up, seen from the accesses
 * to its words (lock-area.ts). Every quantity is kept twice, as a sum over what each vCPU went through and as an integral
 * over the clock of all, so that the laws of queues can be checked in every run (spec: concurrency 3.14).
 */
import { AccessKind } from "../coroutine/accessors.ts";
import { LockWords } from "../../checks/lock-words.ts";
import { DURATION_BUCKETS, LockCell } from "../../locks/lock-area.ts";
import { LockSite, isOneOfMany } from "../../locks/lock-class.ts";
import { LockWaits } from "../../locks/lock-waits.ts";
import { PartCell, partCell } from "../../locks/parts.ts";
import { LOCK_NAMES, LOCK_WORDS, QUEUE_NODE_WORDS } from "../../memory/layout.ts";
import type { Layout } from "../../memory/layout.ts";

const UPDATE = AccessKind.update;
const EXCHANGE = AccessKind.exchange;
/** An attempt to take a lock of each kind begins with this: an update or an exchange of a word. */
const ATTEMPTS = new Uint8Array(LOCK_WORDS);
ATTEMPTS[LockCell.held] = ATTEMPTS[LockCell.state] = EXCHANGE;
ATTEMPTS[LockCell.nextTicket] = ATTEMPTS[LockCell.queueTail] = UPDATE;
const SITE = LockCell.site;
const NEVER = -1;
const LOCKS = LOCK_NAMES.length;
const WHOLE = LOCK_NAMES.indexOf("paging");
const IN_PART = LOCK_NAMES.indexOf("paging in part");
const SITES = Math.max(...Object.values(LockSite)) + 1;

/** Durations, in nanoseconds. */
export class Durations {
  count = 0;
  total = 0;
  min = 0;
  max = 0;
  /** As those of a lock's own statistics. */
  readonly buckets: number[] = Array.from({ length: DURATION_BUCKETS }, () => 0);

  /** One more. */
  note(nanos: number): void {
    this.min = this.count === 0 ? nanos : Math.min(this.min, nanos);
    this.max = Math.max(this.max, nanos);
    this.count++;
    this.total += nanos;
    const bucket = nanos < 1 ? 0 : 31 - Math.clz32(nanos);
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1;
  }
}

/** One lock's account. */
export class LockAccount {
  readonly waits = new Durations();
  readonly holds = new Durations();
  acquisitions = 0;
  contentions = 0;
  /** Contended acquisitions of a lock that another vCPU had last. */
  conBounces = 0;
  ownerChanges = 0;
  /** Time that vCPUs wanted the lock without having it, within the window, by vCPU; and that they had it. */
  wanted = 0;
  held = 0;
  /** Integrals over the clock: of the vCPUs that want or have it, and of those that have it. */
  population = 0;
  busy = 0;
}

/** All locks of a machine. */
export class LockWatch {
  accounts: readonly LockAccount[] = [];
  /** Of each vCPU, the waits that ended in the window. */
  readonly waits: readonly LockWaits[];
  readonly #view: Int32Array;
  readonly #offset: number;
  /** Nodes of queues, from the first up to and without the last. */
  readonly #queues: number;
  readonly #queuesEnd: number;
  readonly #words: LockWords;
  /** First word of each vCPU's part. */
  readonly #parts: readonly number[];
  /** By lock and vCPU: since when it wants the lock, whether it had to wait, for what place, and since when it has it. */
  readonly #since: Int32Array;
  readonly #blocked: Uint8Array;
  readonly #heldBy: Uint8Array;
  readonly #threads: number;
  readonly #heldSince: Int32Array;
  readonly #lastHolders = new Int32Array(LOCKS).fill(NEVER);
  readonly #inSystem = new Int32Array(LOCKS);
  /** How many vCPUs have one: of locks of which there are many it can be more than 1. */
  readonly #holders = new Int32Array(LOCKS);
  readonly #changedAt = new Int32Array(LOCKS);
  #windowFrom = 0;

  constructor(view: Int32Array, layout: Layout, threads: number) {
    const { locks, queues } = layout.regions;
    this.#view = view;
    this.#offset = locks.offset;
    this.#queues = queues.offset;
    this.#queuesEnd = queues.offset + queues.words;
    this.#words = new LockWords(layout);
    this.#parts = Array.from({ length: threads }, (_, vcpu) => partCell(layout, vcpu));
    this.#heldSince = new Int32Array(LOCKS * threads).fill(NEVER);
    this.#threads = threads;
    this.waits = Array.from({ length: threads }, () => new LockWaits());
    this.#since = new Int32Array(LOCKS * threads).fill(NEVER);
    this.#blocked = new Uint8Array(LOCKS * threads);
    this.#heldBy = new Uint8Array(LOCKS * threads);
    this.#forget();
  }

  /** What is counted from now on is the window's; what is under way counts from now. */
  beginWindow(time: number): void {
    this.#forget();
    this.#windowFrom = time;
    this.#changedAt.fill(time);
  }

  /** What is under way counts until now. */
  endWindow(time: number): void {
    for (const [lock, account] of this.accounts.entries()) {
      this.#integrate(lock, account, time);
      for (let thread = 0; thread < this.#threads; thread++) {
        const since = this.#since[lock * this.#threads + thread] ?? NEVER;
        if (since !== NEVER) account.wanted += time - Math.max(since, this.#windowFrom);
        const heldSince = this.#heldSince[lock * this.#threads + thread] ?? NEVER;
        if (heldSince !== NEVER) account.held += time - Math.max(heldSince, this.#windowFrom);
      }
    }
  }

  /** A vCPU performs a write to a word of a lock: perhaps the first by which it wants the lock. */
  attempted(thread: number, cell: number, kind: number, time: number): void {
    const lock = this.#attemptAt(cell, kind);
    const at = lock * this.#threads + thread;
    if (lock < 0 || this.#since[at] !== NEVER || this.#heldSince[at] !== NEVER) return;
    const account = this.accounts[lock];
    if (account === undefined) return;
    this.#integrate(lock, account, time);
    this.#since[at] = time;
    this.#inSystem[lock] = (this.#inSystem[lock] ?? 0) + 1;
    this.#blocked[at] = 0;
  }

  /** The lock that a write of a kind to a cell is an attempt to take, if it is not held; NEVER for none. */
  #attemptAt(cell: number, kind: number): number {
    const offset = cell - this.#offset;
    if (offset < LOCKS * LOCK_WORDS)
      return ATTEMPTS[offset % LOCK_WORDS] === kind ? Math.floor(offset / LOCK_WORDS) : NEVER;
    const lock = this.#words.lockAt(cell);
    // A word of one's own is stored to, one of a page that others want, too, compared.
    return lock === IN_PART || kind === EXCHANGE ? lock : NEVER;
  }

  /** A vCPU has to wait on a cell: for a lock, if it is one of its words or of its queue and the vCPU wants it. */
  blocked(thread: number, cell: number): void {
    const lock = this.#lockOf(cell);
    const at = lock * this.#threads + thread;
    if (lock < 0 || this.#since[at] === NEVER || this.#blocked[at] === 1) return;
    this.#blocked[at] = 1;
    // Who waits for a part waits for the whole; who holds the lock of a page does not say where.
    const holding = lock === IN_PART ? WHOLE : lock;
    const site = isOneOfMany(holding) ? 0 : (this.#view[this.#offset + holding * LOCK_WORDS + SITE] ?? 0);
    this.#heldBy[at] = site >= 0 && site < SITES ? site : 0;
  }

  #lockOf(cell: number): number {
    if (cell >= this.#queues && cell < this.#queuesEnd)
      return Math.floor((cell - this.#queues) / QUEUE_NODE_WORDS) % LOCKS;
    const offset = cell - this.#offset;
    if (offset < LOCKS * LOCK_WORDS) return Math.floor(offset / LOCK_WORDS);
    const lock = this.#words.lockAt(cell);
    // Who waits until others give their parts up wants the whole.
    return lock === IN_PART ? WHOLE : lock;
  }

  /** A vCPU has written a word of a lock: one that names the holder says who has it. */
  written(thread: number, cell: number, value: number, time: number): void {
    const lock = this.#words.lockAt(cell);
    const account = this.accounts[lock];
    if (account === undefined) return;
    const has = this.#heldSince[lock * this.#threads + thread] !== NEVER;
    this.#integrate(lock, account, time);
    if (value === 0 && has) this.#released(thread, lock, account, time);
    else if (value === thread + 1 && !has) this.#acquired(thread, lock, account, time);
  }

  #acquired(thread: number, lock: number, account: LockAccount, time: number): void {
    const at = lock * this.#threads + thread;
    const since = this.#since[at] ?? time;
    const hadToWait = this.#blocked[at] === 1;
    // Of locks of which there are many, another vCPU had another one.
    const isOther =
      this.#lastHolders[lock] !== thread && this.#lastHolders[lock] !== NEVER && !isOneOfMany(lock);
    this.#since[at] = NEVER;
    this.#lastHolders[lock] = thread;
    this.#heldSince[at] = time;
    this.#holders[lock] = (this.#holders[lock] ?? 0) + 1;
    account.wanted += time - Math.max(since, this.#windowFrom);
    account.acquisitions++;
    if (isOther) account.ownerChanges++;
    if (!hadToWait) return;
    account.contentions++;
    if (isOther) account.conBounces++;
    account.waits.note(time - since);
    const siteCell = isOneOfMany(lock)
      ? (this.#parts[thread] ?? 0) + PartCell.waitsAt
      : this.#offset + lock * LOCK_WORDS + SITE;
    this.waits[thread]?.note(lock, this.#view[siteCell] ?? 0, this.#heldBy[at] ?? 0, time - since);
  }

  #released(thread: number, lock: number, account: LockAccount, time: number): void {
    const at = lock * this.#threads + thread;
    const since = this.#heldSince[at] ?? time;
    account.holds.note(time - since);
    account.held += time - Math.max(since, this.#windowFrom);
    this.#heldSince[at] = NEVER;
    this.#holders[lock] = (this.#holders[lock] ?? 0) - 1;
    this.#inSystem[lock] = (this.#inSystem[lock] ?? 0) - 1;
  }

  /** The clock never goes back, whatever a vCPU's own time does: that is what makes the two sums independent. */
  #integrate(lock: number, account: LockAccount, time: number): void {
    const passed = time - (this.#changedAt[lock] ?? 0);
    if (passed <= 0) return;
    account.population += (this.#inSystem[lock] ?? 0) * passed;
    account.busy += (this.#holders[lock] ?? 0) * passed;
    this.#changedAt[lock] = time;
  }

  #forget(): void {
    this.accounts = LOCK_NAMES.map(() => new LockAccount());
    for (const waits of this.waits) waits.forget();
  }
}
