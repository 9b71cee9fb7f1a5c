/**
 * What happens to each lock in virtual time, exactly: who began to want it, got it and gave it up, seen from the accesses
 * to its words (lock-area.ts). Every quantity is kept twice, as a sum over what each vCPU went through and as an integral
 * over the clock of all, so that the laws of queues can be checked in every run (spec: concurrency 3.14).
 */
import { AccessKind } from "../coroutine/accessors.ts";
import { DURATION_BUCKETS, LockCell } from "../../locks/lock-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { LockWaits } from "../../locks/lock-waits.ts";
import { LOCK_NAMES, LOCK_WORDS, QUEUE_NODE_WORDS } from "../../memory/layout.ts";
import type { Layout } from "../../memory/layout.ts";

const UPDATE = AccessKind.update;
const EXCHANGE = AccessKind.exchange;
/** An attempt to take a lock of each kind begins with this: an update or an exchange of a word. */
const ATTEMPTS = new Uint8Array(LOCK_WORDS);
ATTEMPTS[LockCell.held] = ATTEMPTS[LockCell.state] = EXCHANGE;
ATTEMPTS[LockCell.nextTicket] = ATTEMPTS[LockCell.queueTail] = UPDATE;
const OWNER = LockCell.owner;
const SITE = LockCell.site;
const NEVER = -1;
const LOCKS = LOCK_NAMES.length;
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
  /** Integrals over the clock: of the vCPUs that want or have it, and of whether somebody has it. */
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
  /** By lock and vCPU: since when it wants the lock, whether it had to wait, and for what place. */
  readonly #since: Int32Array;
  readonly #blocked: Uint8Array;
  readonly #heldBy: Uint8Array;
  readonly #threads: number;
  readonly #holders = new Int32Array(LOCKS).fill(NEVER);
  readonly #lastHolders = new Int32Array(LOCKS).fill(NEVER);
  readonly #heldSince = new Int32Array(LOCKS);
  readonly #inSystem = new Int32Array(LOCKS);
  readonly #isHeld = new Uint8Array(LOCKS);
  readonly #changedAt = new Int32Array(LOCKS);
  #windowFrom = 0;

  constructor(view: Int32Array, { regions }: Pick<Layout, "regions">, threads: number) {
    this.#view = view;
    this.#offset = regions.locks.offset;
    this.#queues = regions.queues.offset;
    this.#queuesEnd = this.#queues + regions.queues.words;
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
      }
      if (this.#holders[lock] !== NEVER)
        account.held += time - Math.max(this.#heldSince[lock] ?? 0, this.#windowFrom);
    }
  }

  /** A vCPU performs a write to a word of a lock. */
  attempted(thread: number, lock: number, offset: number, kind: number, time: number): void {
    const at = lock * this.#threads + thread;
    if (ATTEMPTS[offset] !== kind || this.#since[at] !== NEVER) return;
    const account = this.accounts[lock];
    if (account === undefined) return;
    this.#integrate(lock, account, time);
    this.#since[at] = time;
    this.#inSystem[lock] = (this.#inSystem[lock] ?? 0) + 1;
    this.#blocked[at] = 0;
  }

  /** A vCPU has to wait on a cell: for a lock, if it is one of its words or of its queue and the vCPU wants it. */
  blocked(thread: number, cell: number): void {
    const lock = this.#lockOf(cell);
    const at = lock * this.#threads + thread;
    if (lock < 0 || this.#since[at] === NEVER || this.#blocked[at] === 1) return;
    this.#blocked[at] = 1;
    const site = this.#view[this.#offset + lock * LOCK_WORDS + SITE] ?? 0;
    this.#heldBy[at] = site >= 0 && site < SITES ? site : 0;
  }

  #lockOf(cell: number): number {
    if (cell >= this.#queues && cell < this.#queuesEnd)
      return Math.floor((cell - this.#queues) / QUEUE_NODE_WORDS) % LOCKS;
    const lock = Math.floor((cell - this.#offset) / LOCK_WORDS);
    return lock < LOCKS ? lock : NEVER;
  }

  /** A vCPU has written a word of a lock: its owner says who has it. */
  written(thread: number, lock: number, offset: number, value: number, time: number): void {
    if (offset !== OWNER) return;
    const account = this.accounts[lock];
    if (account === undefined) return;
    this.#integrate(lock, account, time);
    if (value === 0) this.#released(lock, account, time);
    else this.#acquired(thread, lock, account, time);
  }

  #acquired(thread: number, lock: number, account: LockAccount, time: number): void {
    const at = lock * this.#threads + thread;
    const since = this.#since[at] ?? time;
    const hadToWait = this.#blocked[at] === 1;
    const isOther = this.#lastHolders[lock] !== thread && this.#lastHolders[lock] !== NEVER;
    this.#since[at] = NEVER;
    this.#holders[lock] = this.#lastHolders[lock] = thread;
    this.#heldSince[lock] = time;
    this.#isHeld[lock] = 1;
    account.wanted += time - Math.max(since, this.#windowFrom);
    account.acquisitions++;
    if (isOther) account.ownerChanges++;
    if (!hadToWait) return;
    account.contentions++;
    if (isOther) account.conBounces++;
    account.waits.note(time - since);
    const site = this.#view[this.#offset + lock * LOCK_WORDS + SITE] ?? 0;
    this.waits[thread]?.note(lock, site, this.#heldBy[at] ?? 0, time - since);
  }

  #released(lock: number, account: LockAccount, time: number): void {
    if (this.#holders[lock] === NEVER) return;
    const since = this.#heldSince[lock] ?? time;
    account.holds.note(time - since);
    account.held += time - Math.max(since, this.#windowFrom);
    this.#holders[lock] = NEVER;
    this.#isHeld[lock] = 0;
    this.#inSystem[lock] = (this.#inSystem[lock] ?? 0) - 1;
  }

  /** The clock never goes back, whatever a vCPU's own time does: that is what makes the two sums independent. */
  #integrate(lock: number, account: LockAccount, time: number): void {
    const passed = time - (this.#changedAt[lock] ?? 0);
    if (passed <= 0) return;
    account.population += (this.#inSystem[lock] ?? 0) * passed;
    account.busy += (this.#isHeld[lock] ?? 0) * passed;
    this.#changedAt[lock] = time;
  }

  #forget(): void {
    this.accounts = LOCK_NAMES.map(() => new LockAccount());
    for (const waits of this.waits) waits.forget();
  }
}
