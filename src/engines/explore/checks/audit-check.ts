/**
 * The audit after every hypervisor operation: when a vCPU has given the paging lock up, or the last part of it, and nobody
 * has taken it since, everything that it wrote must be sound, whatever others are at.
 */
import { auditLive } from "../../../checks/audit.ts";
import { CachesInUse } from "../../../checks/caches-in-use.ts";
import { LiveView } from "../../../checks/live-view.ts";
import type { Machine } from "../../../hypervisor/machine.ts";
import { LockCell, lockArea } from "../../../locks/lock-area.ts";
import { partCell } from "../../../locks/parts.ts";
import { LOCK_NAMES } from "../../../memory/layout.ts";
import { AccessKind } from "../../coroutine/accessors.ts";
import type { Failure } from "../program-world.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";

const READ = AccessKind.read;
const WAIT = AccessKind.wait;
const NONE = -1;

/** Audits a machine on which coroutines run. */
export class AuditCheck implements ExecutionCheck {
  /** Audits made in this execution. */
  audits = 0;
  readonly #view: LiveView;
  readonly #caches: CachesInUse;
  readonly #ownerCell: number;
  readonly #partCells: readonly number[];
  readonly #failures: Failure[] = [];
  /** The cell that the step at hand writes, NONE when it writes none. */
  #written = NONE;

  constructor(machine: Machine) {
    this.#caches = new CachesInUse(machine);
    this.#view = new LiveView(machine, this.#caches);
    const { layout, config } = machine;
    this.#partCells = Array.from({ length: config.vcpus + 1 }, (_, thread) => partCell(layout, thread));
    this.#ownerCell = lockArea(machine.layout, LOCK_NAMES.indexOf("paging")) + LockCell.owner;
  }

  begin(): void {
    this.audits = 0;
    this.#failures.length = 0;
    this.#written = NONE;
    this.#caches.begin();
    this.#view.begin();
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    const kind = scheduler.kind[thread] ?? READ;
    if (kind === READ || kind >= WAIT) {
      this.#written = NONE;
      return;
    }
    const cell = scheduler.cell[thread] ?? 0;
    this.#written = cell;
    this.#view.dirt.write(cell, scheduler.span[thread] ?? 1);
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    const written = this.#written;
    if (written === NONE) return;
    this.#written = NONE;
    this.#caches.written(thread, written);
    if (scheduler.view[written] !== 0) return;
    if (written !== this.#ownerCell && written !== this.#partCells[thread]) return;
    // The owner leaves before it lets others in, and nobody begins a part before: at this moment nobody is inside.
    if (!this.#isAnybodyInside(scheduler)) this.#audit(scheduler, thread);
  }

  #isAnybodyInside({ view }: Scheduler): boolean {
    return view[this.#ownerCell] !== 0 || this.#partCells.some((cell) => (view[cell] ?? 0) > 0);
  }

  end(): readonly Failure[] {
    return this.#failures;
  }

  #audit(scheduler: Scheduler, thread: number): void {
    this.audits++;
    for (const { check, message } of auditLive(this.#view)) this.#failures.push({ check, thread, message });
    if (this.#failures.length > 0) scheduler.stop();
  }
}
