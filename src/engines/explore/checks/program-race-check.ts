/** Races in small programs: every atomic access orders, and so do locks, conditions, beginnings and ends of threads. */
import { RaceDetector } from "../../../checks/race.ts";
import type { Race } from "../../../checks/race.ts";
import { AccessKind } from "../../coroutine/accessors.ts";
import { SITES } from "../../coroutine/sites.ts";
import type { Failure } from "../program-world.ts";
import { THREADS_MAX } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";
import { RaceReport, WIDE } from "./race-report.ts";

const {
  read: READ,
  write: WRITE,
  exchange: EXCHANGE,
  fill: FILL,
  spawn: SPAWN,
  unlock: UNLOCK,
  suspend: SUSPEND,
  signal: SIGNAL,
  wait: WAIT,
  lock: LOCK,
  relock: RELOCK,
  join: JOIN,
} = AccessKind;

/** Watches a program whose memory has so many cells. */
export class ProgramRaceCheck implements ExecutionCheck {
  readonly #detector: RaceDetector;
  readonly #report = new RaceReport((cell) => `cell ${String(cell)}`, THREADS_MAX);
  readonly #failures: Failure[] = [];
  readonly #reported = new Set<string>();
  #kind = -1;
  #site = 0;
  #cell = 0;
  #span = 1;
  #other = -1;
  #before = 0;
  #threads = 0;

  constructor(cells: number) {
    this.#detector = new RaceDetector(cells, THREADS_MAX);
  }

  begin(): void {
    this.#detector.begin();
    this.#failures.length = 0;
    this.#reported.clear();
    this.#kind = -1;
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    this.#kind = scheduler.kind[thread] ?? READ;
    this.#site = scheduler.site[thread] ?? 0;
    this.#cell = scheduler.cell[thread] ?? 0;
    this.#span = scheduler.span[thread] ?? 1;
    this.#other = scheduler.other[thread] ?? -1;
    this.#before = scheduler.view[this.#cell] ?? 0;
    this.#threads = scheduler.threads;
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    const kind = this.#kind;
    this.#kind = -1;
    if (kind < 0) return;
    if (kind <= FILL || kind === WAIT) {
      for (let cell = this.#cell; cell < this.#cell + this.#span; cell++)
        if (kind === FILL || SITES.isPlain(this.#site)) this.#plain(scheduler, thread, cell, kind !== READ);
        else this.#atomic(scheduler, thread, cell, kind);
    } else this.#synchronise(scheduler, thread, kind);
  }

  end(): readonly Failure[] {
    return this.#failures;
  }

  #plain(scheduler: Scheduler, thread: number, cell: number, isWrite: boolean): void {
    const what = this.#report.pack(this.#site, 0);
    const value = scheduler.view[cell] ?? 0;
    const race = isWrite
      ? this.#detector.write(thread, cell, what, value)
      : this.#detector.read(thread, cell, what, value);
    this.#found(race);
  }

  #atomic(scheduler: Scheduler, thread: number, cell: number, kind: number): void {
    const value = scheduler.view[cell] ?? 0;
    const isWrite = kind !== READ && kind !== WAIT && (kind !== EXCHANGE || value !== this.#before);
    const what = this.#report.pack(this.#site, 0, this.#span === 2);
    this.#found(this.#detector.mixed(thread, cell, isWrite, what, WIDE));
    if (kind !== WRITE) this.#detector.acquire(thread, cell);
    this.#found(this.#detector.atomic(thread, cell, isWrite, what, value));
    if (isWrite) this.#detector.release(thread, cell, kind !== WRITE);
  }

  #synchronise(scheduler: Scheduler, thread: number, kind: number): void {
    const detector = this.#detector;
    switch (kind) {
      case SPAWN:
        for (let begun = this.#threads; begun < scheduler.threads; begun++) detector.follow(begun, thread);
        break;
      case JOIN:
        detector.follow(thread, this.#cell);
        break;
      case LOCK:
        detector.acquire(thread, this.#cell);
        break;
      case UNLOCK:
        detector.release(thread, this.#cell, false);
        break;
      case SUSPEND:
        detector.release(thread, this.#other, false);
        break;
      case SIGNAL:
        detector.release(thread, this.#cell, true);
        break;
      case RELOCK:
        detector.acquire(thread, this.#cell);
        detector.acquire(thread, this.#other);
        break;
      default:
        break;
    }
  }

  #found(race: Race | undefined): void {
    if (race === undefined) return;
    const key = this.#report.key(race, "program");
    if (this.#reported.has(key)) return;
    this.#reported.add(key);
    const message = this.#report.text(race, this.#before);
    this.#failures.push({ check: "race", thread: race.later.thread, key, message });
  }
}
