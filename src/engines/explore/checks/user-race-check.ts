/**
 * Data races of users' programs, as ECMAScript defines them (memory model, "Data Races"): two accesses to a byte, one of
 * them a write, not both atomic and of one size, that nothing orders. `Atomics`, locks, beginnings and ends of threads, and
 * wait and notify order. Words are followed whole until somebody accesses a part of one: from then on, its bytes are.
 */
import { basename } from "node:path";
import { RaceDetector } from "../../../checks/race.ts";
import type { Race, RaceSide } from "../../../checks/race.ts";
import { AccessKind } from "../../coroutine/accessors.ts";
import { SITES } from "../../coroutine/sites.ts";
import { AccessLog, Lockings, SIZE_MASK } from "../program/access-log.ts";
import type { Failure } from "../program-world.ts";
import { RAW } from "../raw-access.ts";
import { THREADS_MAX } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";

const { read: READ, write: WRITE, exchange: EXCHANGE, spawn: SPAWN, unlock: UNLOCK } = AccessKind;
const { suspend: SUSPEND, signal: SIGNAL, lock: LOCK, relock: RELOCK, join: JOIN } = AccessKind;
const NONE = -1;
const WORD = 4;

/** How the threads and cells of a program are called. */
export interface ProgramNames {
  threadName(thread: number): string;
  cellName(cell: number): string;
}

/** Watches the executions of a user's program. */
export class UserRaceCheck implements ExecutionCheck {
  readonly #names: ProgramNames;
  readonly #detector: RaceDetector;
  readonly #log = new AccessLog();
  readonly #lockings = new Lockings(THREADS_MAX);
  readonly #failures: Failure[] = [];
  /** Words of which bytes are followed. */
  readonly #split = new Set<number>();
  /** The step at hand; -1 as kind for none. */
  #kind = NONE;
  #site = 0;
  #cell = 0;
  #byte = 0;
  #bytes = WORD;
  #low = 0;
  #high = 0;
  #threads = 0;

  constructor(names: ProgramNames) {
    this.#names = names;
    this.#detector = new RaceDetector(RAW.view.byteLength, THREADS_MAX);
  }

  begin(): void {
    this.#detector.begin();
    this.#log.begin();
    this.#lockings.begin();
    this.#split.clear();
    this.#failures.length = 0;
    this.#kind = NONE;
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    this.#kind = scheduler.kind[thread] ?? READ;
    this.#site = scheduler.site[thread] ?? 0;
    this.#cell = scheduler.cell[thread] ?? 0;
    this.#byte = RAW.byteAt[thread] ?? 0;
    this.#bytes = RAW.bytesOf[thread] ?? WORD;
    this.#threads = scheduler.threads;
    this.#low = this.#half(scheduler.view, 0);
    this.#high = this.#half(scheduler.view, 1);
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    const kind = this.#kind;
    this.#kind = NONE;
    if (kind < 0) return;
    if (kind <= EXCHANGE) this.#access(scheduler, thread, kind);
    else this.#synchronise(scheduler, thread, kind);
    if (this.#failures.length > 0) scheduler.stop();
  }

  end(): readonly Failure[] {
    return this.#failures;
  }

  #access({ view }: Scheduler, thread: number, kind: number): void {
    const after = [this.#half(view, 0), this.#half(view, 1)] as const;
    const before = [this.#low, this.#high] as const;
    const isSame = after[0] === before[0] && after[1] === before[1];
    const isWrite = kind !== READ && (kind !== EXCHANGE || !isSame);
    const locks = this.#lockings.of(thread);
    const access = this.#log.note({ site: this.#site, locks, bytes: this.#bytes, before, after });
    const isPlain = SITES.isPlain(this.#site);
    const end = this.#byte + this.#bytes;
    if (this.#bytes < WORD) this.#splitWord(this.#byte >>> 2);
    for (let byte = this.#byte; byte < end; byte += this.#split.has(byte >>> 2) ? 1 : WORD) {
      if (isPlain) this.#plain(thread, byte, isWrite, access);
      else this.#atomic(thread, byte, kind, isWrite, access);
    }
  }

  /** From now on the bytes of a word are followed one by one, each with the history of the word. */
  #splitWord(word: number): void {
    if (this.#split.has(word)) return;
    this.#split.add(word);
    for (let part = 1; part < WORD; part++) this.#detector.inherit((word << 2) + part, word << 2);
  }

  #plain(thread: number, byte: number, isWrite: boolean, access: number): void {
    if (RAW.mayRace(byte)) return;
    if (isWrite) this.#found(this.#detector.write(thread, byte, access, 0));
    else this.#found(this.#detector.read(thread, byte, access, 0));
  }

  #atomic(thread: number, byte: number, kind: number, isWrite: boolean, access: number): void {
    const detector = this.#detector;
    if (!RAW.mayRace(byte)) this.#found(detector.mixed(thread, byte, isWrite, access, SIZE_MASK));
    if (kind !== WRITE) detector.acquire(thread, byte);
    this.#found(detector.atomic(thread, byte, isWrite, access, 0));
    if (isWrite) detector.release(thread, byte, kind !== WRITE);
  }

  #synchronise(scheduler: Scheduler, thread: number, kind: number): void {
    const detector = this.#detector;
    const at = this.#cell << 2;
    switch (kind) {
      case SPAWN:
        for (let begun = this.#threads; begun < scheduler.threads; begun++) detector.follow(begun, thread);
        break;
      case JOIN:
        detector.follow(thread, this.#cell);
        break;
      case LOCK:
        detector.acquire(thread, at);
        this.#lockings.take(thread, this.#cell);
        break;
      case UNLOCK:
        detector.release(thread, at, false);
        this.#lockings.give(thread, this.#cell);
        break;
      // The list of waiters is entered and left, as a lock is; going to sleep looks at the cell itself.
      case SUSPEND:
        detector.acquire(thread, at);
        this.#access(scheduler, thread, READ);
        detector.release(thread, at, true);
        break;
      case SIGNAL:
        detector.acquire(thread, at);
        detector.release(thread, at, true);
        break;
      case RELOCK:
        detector.acquire(thread, at);
        break;
      default:
        break;
    }
  }

  /** One half of the element at hand, as it is in memory. */
  #half(view: Int32Array, half: 0 | 1): number {
    if (half === 1) return this.#bytes > WORD ? (view[(this.#byte >>> 2) + 1] ?? 0) : 0;
    const word = view[this.#byte >>> 2] ?? 0;
    if (this.#bytes >= WORD) return word;
    return (word >>> (8 * (this.#byte & 3))) & ((1 << (8 * this.#bytes)) - 1);
  }

  #found(race: Race | undefined): void {
    if (race === undefined || this.#failures.length > 0) return;
    const { earlier, later } = race;
    const name = this.#names.cellName(race.cell >>> 2);
    const places = [earlier, later].map(({ what }) => basename(this.#log.place(what))).toSorted();
    const message = `Data race on ${name}: nothing orders ${this.#side(earlier)} and ${this.#side(later)}.`;
    const key = `race ${places.join(" ")} ${name}`;
    this.#failures.push({ check: "race", thread: later.thread, key, message });
  }

  #side({ thread, what, isWrite, isAtomic }: RaceSide): string {
    const log = this.#log;
    const locks = this.#lockings.cells(log.locks(what)).map((cell) => this.#names.cellName(cell));
    const held = locks.length === 0 ? "holding no lock" : `holding ${locks.join(" and ")}`;
    const how = isAtomic ? log.name(what) : isWrite ? "a plain write" : "a plain read";
    const bits = 8 * log.bytes(what);
    const within = log.within(what) === "" ? "" : ` in ${log.within(what)}`;
    const where = `${this.#names.threadName(thread)}${within} (${log.place(what)})`;
    return `${where}, ${held}: ${how} of ${String(bits)} bits (${log.values(what)})`;
  }
}
