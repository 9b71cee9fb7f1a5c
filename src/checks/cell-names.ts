/** What a cell of a machine's memory is, in words: for whoever reads a trace or a race report. */
import { LockCell } from "../locks/lock-area.ts";
import { DomainCell } from "../memory/domain-area.ts";
import { FRAME_FIELD_NAMES } from "../memory/frame-table.ts";
import { LOCK_NAMES, LOCK_WORDS, VCPU_WORDS } from "../memory/layout.ts";
import type { Layout, Region } from "../memory/layout.ts";
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
  switch (region.name) {
    case "frames":
      return `mfn ${hex(cell >>> 10)} word ${String(cell & 1023)}`;
    case "vcpus":
      return `${threadName(layout, Math.floor(at / VCPU_WORDS))} ${fieldName(VcpuCell, at % VCPU_WORDS)}`;
    case "locks":
      return `${LOCK_NAMES[Math.floor(at / LOCK_WORDS)] ?? "no"} lock ${fieldName(LockCell, at % LOCK_WORDS)}`;
    case "domain":
      return `domain ${fieldName(DomainCell, at)}`;
    case "records": {
      const field = FRAME_FIELD_NAMES[Math.floor(at / layout.sizes.frames)] ?? "field";
      return `mfn ${hex(at % layout.sizes.frames)} ${field}`;
    }
    case "p2m":
      return `p2m of gfn ${hex(at)}`;
    case "hash":
      return `hash bucket ${String(at)}`;
    default:
      return `${region.name} word ${String(at)}`;
  }
}

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
