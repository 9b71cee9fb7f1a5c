/**
 * Races on a machine's memory: accesses that break the guard declared for their cell, accesses that nothing orders, and
 * entries of live tables that are not accessed whole.
 */
import { cellName, regionOf } from "../../../checks/cell-names.ts";
import { Guards } from "../../../checks/guards.ts";
import type { CellGuards } from "../../../checks/guards.ts";
import { FRAME_BIT, HoldersOfLocks, PAGING_BIT, PART_BIT } from "../../../checks/lock-words.ts";
import { RaceDetector } from "../../../checks/race.ts";
import type { Race } from "../../../checks/race.ts";
import type { Machine } from "../../../hypervisor/machine.ts";
import { ShadowType, isFakeLeafType, isLeafType } from "../../../hypervisor/shadow/shadow-type.ts";
import { FrameUse, SHADOWED } from "../../../memory/frame-table.ts";
import { LOCK_NAMES } from "../../../memory/layout.ts";
import type { Guard } from "../../../memory/layout.ts";
import { mfn, vcpuId } from "../../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../../memory/vcpu-area.ts";
import { AccessKind } from "../../coroutine/accessors.ts";
import { SITES } from "../../coroutine/sites.ts";
import type { Failure } from "../program-world.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";
import { RaceReport } from "./race-report.ts";

const { read: READ, write: WRITE, exchange: EXCHANGE, fill: FILL, wait: WAIT, update: UPDATE } = AccessKind;
const LOCK_OF_GUARD: ReadonlyMap<string, number> = new Map(
  LOCK_NAMES.map((name, lock) => [`${name} lock`, lock]),
);
const PAGE_SHIFT = 10;
const ENTRY = 2;

/** `strict`: every atomic access orders. `intent`: only those that are declared to, and the entries of live tables. */
export type Ordering = "strict" | "intent";

/** Watches a machine on which coroutines run. */
export class RaceCheck implements ExecutionCheck {
  readonly #machine: Machine;
  readonly #guards: Guards;
  readonly #detector: RaceDetector;
  readonly #report: RaceReport;
  readonly #isStrict: boolean;
  readonly #framesEnd: number;
  readonly #holders: HoldersOfLocks;
  readonly #areas: readonly number[];
  readonly #failures: Failure[] = [];
  readonly #reported = new Set<string>();
  /** The step at hand; -1 as kind for none that is an access. */
  #kind = -1;
  #site = 0;
  #cell = 0;
  #span = 1;
  #before = 0;
  #locks = 0;

  constructor(machine: Machine, ordering: Ordering = "strict", declared?: CellGuards) {
    this.#machine = machine;
    this.#guards = new Guards(machine.layout, declared);
    this.#isStrict = ordering === "strict";
    this.#detector = new RaceDetector(machine.layout.words, machine.config.vcpus + 1);
    this.#report = new RaceReport((cell) => cellName(machine.layout, cell), machine.config.vcpus);
    this.#framesEnd = machine.layout.sizes.frames << PAGE_SHIFT;
    this.#areas = Array.from({ length: machine.config.vcpus + 1 }, (_, id) =>
      vcpuArea(machine.layout, vcpuId(id)),
    );
    this.#holders = new HoldersOfLocks(machine.layout, machine.memory.view, machine.config.vcpus + 1);
  }

  begin(): void {
    this.#detector.begin();
    this.#holders.begin();
    this.#failures.length = 0;
    this.#reported.clear();
    this.#kind = -1;
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    const kind = scheduler.kind[thread] ?? READ;
    if (kind > WAIT || (kind > FILL && kind < WAIT)) {
      this.#kind = -1;
      return;
    }
    const { view } = scheduler;
    const cell = scheduler.cell[thread] ?? 0;
    this.#kind = kind;
    this.#site = scheduler.site[thread] ?? 0;
    this.#cell = cell;
    this.#span = scheduler.span[thread] ?? 1;
    this.#before = view[cell] ?? 0;
    this.#locks = this.#holders.heldBy(thread);
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    const kind = this.#kind;
    if (kind < 0) return;
    this.#kind = -1;
    if (kind === FILL) this.#fill(scheduler, thread);
    else if (SITES.isPlain(this.#site)) this.#plain(scheduler, thread, kind);
    else this.#atomic(scheduler, thread, kind);
    if (kind !== READ) this.#holders.written(thread, this.#cell);
  }

  end(): readonly Failure[] {
    return this.#failures;
  }

  #plain(scheduler: Scheduler, thread: number, kind: number): void {
    const cell = this.#cell;
    const isWrite = kind !== READ;
    const isOpen = this.#guards.isOpen(cell, isWrite);
    if (!isOpen && !this.#holdsGuard(thread, cell, isWrite)) {
      this.#unguarded(scheduler, thread, isWrite, this.#guards.guard(cell));
      return;
    }
    // What anybody may read is read out of order; its writers are held against each other.
    if (isOpen && !isWrite) return;
    const what = this.#what(thread);
    const value = scheduler.view[cell] ?? 0;
    const race = isWrite
      ? this.#detector.write(thread, cell, what, value)
      : this.#detector.read(thread, cell, what, value);
    if (race !== undefined) this.#found(scheduler, race);
  }

  #atomic(scheduler: Scheduler, thread: number, kind: number): void {
    const value = scheduler.view[this.#cell] ?? 0;
    const isFrame = this.#cell < this.#framesEnd;
    if (isFrame) this.#checkWhole(scheduler, thread, kind);
    if (isFrame && (this.#locks & PART_BIT) !== 0) this.#checkTable(scheduler, thread, kind);
    // An entry is one thing, and so is the word that a byte lies in.
    const cell = isFrame ? this.#cell & ~1 : this.#cell;
    const isWrite =
      kind === WRITE ||
      kind === UPDATE ||
      (kind === EXCHANGE && (value !== this.#before || this.#span === ENTRY));
    const orders = this.#orders(cell);
    if (orders && kind !== WRITE) this.#detector.acquire(thread, cell);
    const what = this.#what(thread);
    const race = this.#detector.atomic(thread, cell, isWrite, what, value);
    if (race !== undefined) this.#found(scheduler, race);
    if (orders && isWrite) this.#detector.release(thread, cell, kind !== WRITE);
  }

  /** The access at hand, for a report. */
  #what(thread: number): number {
    const { view } = this.#machine.memory;
    const doing = view[(this.#areas[thread] ?? 0) + VcpuCell.doing] ?? 0;
    return this.#report.pack(this.#site, this.#locks, this.#span === ENTRY, doing);
  }

  /** Every cell of the run that anybody has accessed: the rest is as new. */
  #fill(scheduler: Scheduler, thread: number): void {
    const what = this.#what(thread);
    const end = this.#cell + this.#span;
    for (let cell = this.#cell; cell < end; cell++) {
      if (!this.#detector.knows(cell)) continue;
      const race = this.#detector.write(thread, cell, what, scheduler.view[cell] ?? 0);
      if (race !== undefined) this.#found(scheduler, race);
    }
  }

  #orders(cell: number): boolean {
    if (this.#isStrict || this.#guards.publishes(cell)) return true;
    if (cell < this.#framesEnd) return this.#machine.frames.use(mfn(cell >>> PAGE_SHIFT)) === FrameUse.pool;
    const { p2m } = this.#machine.layout.regions;
    return cell >= p2m.offset && cell < p2m.offset + p2m.words;
  }

  #holdsGuard(thread: number, cell: number, isWrite: boolean): boolean {
    const guard = this.#guards.guard(cell);
    if (guard === "atomic") return false;
    if (guard === "frame lock") return this.#holdsFrame(thread, cell);
    // In part of it nothing changes that all of it guards.
    if (guard === "paging lock" && !isWrite && (this.#locks & PART_BIT) !== 0) return true;
    const lock = LOCK_OF_GUARD.get(guard);
    // Whoever takes a lock writes its words before its name stands in them: there, order alone decides.
    return lock === undefined || (this.#locks & (1 << lock)) !== 0;
  }

  /** Whether a thread may access a field that counts: with all of the paging lock, or in part and with the frame's own. */
  #holdsFrame(thread: number, cell: number): boolean {
    if ((this.#locks & PAGING_BIT) !== 0) return true;
    const { layout } = this.#machine;
    const frame = (cell - layout.regions.records.offset) % layout.sizes.frames;
    const needs = PART_BIT | FRAME_BIT;
    return (this.#locks & needs) === needs && this.#holders.frameOf(thread) === frame;
  }

  /** In part, entries of a guest table and of its shadows are stored by whoever holds the table's lock. */
  #checkTable(scheduler: Scheduler, thread: number, kind: number): void {
    const { frames } = this.#machine;
    const frame = mfn(this.#cell >>> PAGE_SHIFT);
    const isShadow = frames.use(frame) === FrameUse.pool;
    // Entries above leaves are the whole's to store; a walk sets A and D by compare-exchange, whatever locks there are.
    if (isShadow && kind !== READ && !isLeafType(frames.type(frame))) {
      this.#unguarded(scheduler, thread, true, "paging lock");
      return;
    }
    if (isShadow ? kind === READ : kind !== WRITE || (frames.shadowFlags(frame) & SHADOWED) === 0) return;
    const hasTable = isShadow && !isFakeLeafType(frames.type(frame));
    const table = hasTable ? frames.back(frame) : frame;
    if (this.#holders.tableOf(thread) !== table) this.#unguarded(scheduler, thread, true, "table lock");
  }

  /** An entry of a live table is read and written whole: half of one is a translation that nobody made. */
  #checkWhole(scheduler: Scheduler, thread: number, kind: number): void {
    if (this.#span === ENTRY || kind === FILL) return;
    const { frames } = this.#machine;
    const frame = mfn(this.#cell >>> PAGE_SHIFT);
    const type = frames.type(frame);
    if (frames.use(frame) !== FrameUse.pool || type === 0) return;
    if (type === ShadowType.dirty_tree) {
      // No hardware walks it: like all else that counts what is dirty it belongs to the paging lock.
      if ((this.#locks & PAGING_BIT) === 0) this.#unguarded(scheduler, thread, kind !== READ, "paging lock");
      return;
    }
    // Nor the monitor's tables and snapshots of out-of-sync pages.
    if (type >= ShadowType.p2m_table) return;
    const key = `torn ${this.#report.place(this.#site)}`;
    if (this.#isKnown(key)) return;
    const side = this.#report.side(thread, this.#what(thread), kind !== READ, true);
    const value = scheduler.view[this.#cell] ?? 0;
    const message = `Half an entry of a live shadow: ${side} ${this.#report.change(this.#cell, this.#before, value)}.`;
    this.#fail(scheduler, { check: "race", thread, key, message });
  }

  #unguarded(scheduler: Scheduler, thread: number, isWrite: boolean, guard: Guard | "table lock"): void {
    const region = regionOf(this.#machine.layout, this.#cell)?.name ?? "memory";
    const key = `unguarded ${this.#report.place(this.#site)} ${region}`;
    if (this.#isKnown(key)) return;
    const side = this.#report.side(thread, this.#what(thread), isWrite, false);
    const need = guard === "atomic" ? "it is declared atomic" : `its guard is the ${guard}`;
    const value = scheduler.view[this.#cell] ?? 0;
    const message = `${side} ${this.#report.change(this.#cell, this.#before, value)}, but ${need}.`;
    this.#fail(scheduler, { check: "race", thread, key, message });
  }

  #found(scheduler: Scheduler, race: Race): void {
    const region = regionOf(this.#machine.layout, race.cell)?.name ?? "memory";
    const key = this.#report.key(race, region);
    if (this.#isKnown(key)) return;
    const message = this.#report.text(race, this.#before);
    this.#fail(scheduler, { check: "race", thread: race.later.thread, key, message });
  }

  #isKnown(key: string): boolean {
    if (this.#reported.has(key)) return true;
    this.#reported.add(key);
    return false;
  }

  #fail(scheduler: Scheduler, failure: Failure): void {
    this.#failures.push(failure);
    scheduler.stop();
  }
}
