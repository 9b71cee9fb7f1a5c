/** What a cell of a machine's memory is, in words: for whoever reads a trace or a race report. */
import { LockCell, QueueCell } from "../locks/lock-area.ts";
import { DomainCell } from "../memory/domain-area.ts";
import { FRAME_FIELD_NAMES } from "../memory/frame-table.ts";
import { PartCell } from "../locks/parts.ts";
import { PageLockCell } from "../locks/page-lock.ts";
import {
  LOCK_NAMES,
  LOCK_WORDS,
  PAGE_LOCK_WORDS,
  PART_WORDS,
  QUEUE_NODE_WORDS,
  VCPU_WORDS,
} from "../memory/layout.ts";
import type { Layout, Region, RegionName } from "../memory/layout.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";

/** The region that a cell lies in; undefined for the gaps between regions. */
export function regionOf(layout: Layout, cell: number): Region | undefined {
  return Object.values(layout.regions).find(({ offset, words }) => cell >= offset && cell < offset + words);
}

/** A cell by its field's name: `vCPU 1 doorbell`, `paging lock held`, `mfn 0x2a entry 5`. */
export function cellName(layout: Layout, cell: number): string {
  const region = regionOf(layout, cell);
  if (region === undefined) return `cell ${String(cell)}`;
  const at = cell - region.offset;
  return NAMERS[region.name]?.(at, layout) ?? `${region.name} word ${String(at)}`;
}

/**
 * Whether a cell is only written in passing, by whoever has been decided on elsewhere: the clock of the TLBs, and what a
 * lock's holder notes in it. In which order they are accessed follows from the order of something else.
 */
export function isBookkeeping(layout: Layout, cell: number): boolean {
  const { domain, locks, vcpus } = layout.regions;
  if (cell === domain.offset + DomainCell.tlbClock) return true;
  const isIn = ({ offset, words }: Region): boolean => cell >= offset && cell < offset + words;
  if (isIn(vcpus)) return (cell - vcpus.offset) % VCPU_WORDS === VcpuCell.tlbStamp;
  return isIn(locks) && !DECISIVE_LOCK_CELLS.has((cell - locks.offset) % LOCK_WORDS);
}

const DECISIVE_LOCK_CELLS: ReadonlySet<number> = new Set([
  LockCell.held,
  LockCell.nextTicket,
  LockCell.nowServing,
  LockCell.queueTail,
  LockCell.state,
]);

/** How the cells of a region are named, by their place in it. */
const NAMERS: Readonly<Partial<Record<RegionName, (at: number, layout: Layout) => string>>> = {
  frames: (at) => `mfn ${hex(at >>> 10)} word ${String(at & 1023)}`,
  vcpus: (at, layout) =>
    `${threadName(layout, Math.floor(at / VCPU_WORDS))} ${fieldName(VcpuCell, at % VCPU_WORDS)}`,
  locks: (at) =>
    `${LOCK_NAMES[Math.floor(at / LOCK_WORDS)] ?? "no"} lock ${fieldName(LockCell, at % LOCK_WORDS)}`,
  domain: (at) => `domain ${fieldName(DomainCell, at)}`,
  records: (at, { sizes }) =>
    `mfn ${hex(at % sizes.frames)} ${FRAME_FIELD_NAMES[Math.floor(at / sizes.frames)] ?? "field"}`,
  p2m: (at) => `p2m of gfn ${hex(at)}`,
  hash: (at) => `hash bucket ${String(at)}`,
  parts: (at, layout) =>
    `${threadName(layout, Math.floor(at / PART_WORDS))} part ${fieldName(PartCell, at % PART_WORDS)}`,
  pageLocks: (at) =>
    `${fieldName(PageLockCell, at % PAGE_LOCK_WORDS)} lock of mfn ${hex(Math.floor(at / PAGE_LOCK_WORDS))}`,
  queues: (at, layout) => {
    const node = Math.floor(at / QUEUE_NODE_WORDS);
    const lock = LOCK_NAMES[node % LOCK_NAMES.length] ?? "no";
    const vcpu = threadName(layout, Math.floor(node / LOCK_NAMES.length));
    return `${vcpu} ${lock} lock queue ${fieldName(QueueCell, at % QUEUE_NODE_WORDS)}`;
  },
};

function threadName(layout: Layout, vcpu: number): string {
  return vcpu === layout.sizes.vcpus ? "toolstack" : `vCPU ${String(vcpu)}`;
}

/** The field that begins at an offset, or the last before it with the distance. */
function fieldName(fields: Readonly<Record<string, number>>, offset: number): string {
  let best = "";
  let distance = Infinity;
  for (const [name, at] of Object.entries(fields)) {
    if (at > offset || offset - at >= distance) continue;
    best = name;
    distance = offset - at;
  }
  return distance === 0 || best === "" ? best : `${best}+${String(distance)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
