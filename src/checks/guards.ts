/** How every cell of a machine may be accessed, worked out from the declarations that stand beside the cells. */
import {
  LOCK_CELL_GUARDS,
  LockCell,
  QUEUE_CELL_GUARDS,
  QueueCell,
  lockArea,
  queueNode,
} from "../locks/lock-area.ts";
import { PAGE_LOCK_GUARD, PageLockCell } from "../locks/page-lock.ts";
import { PART_GUARD, PartCell, partCell } from "../locks/parts.ts";
import { DOMAIN_CELL_GUARDS, DomainCell } from "../memory/domain-area.ts";
import { FRAME_FIELD_GUARDS, FRAME_FIELD_NAMES } from "../memory/frame-table.ts";
import { LOCK_NAMES, PAGE_LOCK_WORDS, VCPU_WORDS } from "../memory/layout.ts";
import type { CellGuard, Guard, Layout } from "../memory/layout.ts";
import { keysOf } from "../memory/records.ts";
import { VCPU_CELL_GUARDS, VCPU_CELL_WORDS, VcpuCell } from "../memory/vcpu-area.ts";

type CellGuardsByName = Readonly<Record<string, CellGuard | undefined>>;

/** Declarations of single cells, by the region's name and the cell's: those of the model, or a variant for a test. */
export interface CellGuards {
  readonly domain: CellGuardsByName;
  readonly records: CellGuardsByName;
  readonly vcpus: CellGuardsByName;
  readonly locks: CellGuardsByName;
  readonly queues: CellGuardsByName;
}

/** The declarations that stand beside the cells. */
export const DECLARED_GUARDS: CellGuards = {
  domain: DOMAIN_CELL_GUARDS,
  records: FRAME_FIELD_GUARDS,
  vcpus: VCPU_CELL_GUARDS,
  locks: LOCK_CELL_GUARDS,
  queues: QUEUE_CELL_GUARDS,
};

const GUARD_NAMES: readonly Guard[] = [
  "atomic",
  "private",
  "startup",
  "paging lock",
  "frame lock",
  "p2m lock",
  "heap lock",
  "its own lock",
];
/** Above the guard: what the declaration lets anybody do. */
const READS = 16;
const ALL = 32;
const PUBLISHES = 64;

/** What the declarations say of a cell. */
export class Guards {
  readonly #codes: Uint8Array;

  constructor(layout: Layout, declared: CellGuards = DECLARED_GUARDS) {
    this.#codes = new Uint8Array(layout.words);
    const { regions, sizes } = layout;
    for (const { guard, offset, words } of Object.values(regions))
      this.#codes.fill(GUARD_NAMES.indexOf(guard), offset, offset + words);
    for (const [name, offset] of Object.entries(DomainCell))
      this.#declare(regions.domain.offset + offset, 1, declared.domain[name]);
    for (const [field, name] of FRAME_FIELD_NAMES.entries())
      this.#declare(regions.records.offset + field * sizes.frames, sizes.frames, declared.records[name]);
    for (let vcpu = 0; vcpu <= sizes.vcpus; vcpu++)
      for (const name of keysOf(VcpuCell))
        this.#declare(
          regions.vcpus.offset + vcpu * VCPU_WORDS + VcpuCell[name],
          VCPU_CELL_WORDS[name] ?? 1,
          declared.vcpus[name],
        );
    for (let vcpu = 0; vcpu <= sizes.vcpus; vcpu++)
      this.#declare(partCell(layout, vcpu) + PartCell.held, 1, PART_GUARD);
    for (let frame = 0; frame < sizes.frames; frame++)
      for (const offset of Object.values(PageLockCell))
        this.#declare(regions.pageLocks.offset + frame * PAGE_LOCK_WORDS + offset, 1, PAGE_LOCK_GUARD);
    for (const [lock] of LOCK_NAMES.entries())
      for (const [name, offset] of Object.entries(LockCell))
        this.#declare(lockArea(layout, lock) + offset, 1, declared.locks[name]);
    for (let vcpu = 0; vcpu <= sizes.vcpus; vcpu++)
      for (const [lock] of LOCK_NAMES.entries())
        for (const [name, offset] of Object.entries(QueueCell))
          this.#declare(queueNode(layout, vcpu, lock) + offset, 1, declared.queues[name]);
  }

  /** The guard of a cell. */
  guard(cell: number): Guard {
    return GUARD_NAMES[(this.#codes[cell] ?? 0) & 15] ?? "atomic";
  }

  /** Whether plain accesses to a cell are meant to be made without its guard, for reads or for all. */
  isOpen(cell: number, isWrite: boolean): boolean {
    return ((this.#codes[cell] ?? 0) & (isWrite ? ALL : READS | ALL)) !== 0;
  }

  /** Whether atomic accesses to a cell are meant to order what happens around them. */
  publishes(cell: number): boolean {
    return ((this.#codes[cell] ?? 0) & PUBLISHES) !== 0;
  }

  #declare(first: number, count: number, guard: CellGuard | undefined): void {
    if (guard === undefined) return;
    const open = guard.anybody === "reads" ? READS : guard.anybody === "accesses" ? ALL : 0;
    const publishes = guard.publishes === true ? PUBLISHES : 0;
    this.#codes.fill(GUARD_NAMES.indexOf(guard.guard) | open | publishes, first, first + count);
  }
}
