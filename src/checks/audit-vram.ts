/** Invariants of a tracked frame buffer: no change of it can go unseen (spec 11.8). */
import { DomainCell } from "../memory/domain-area.ts";
import { NO_MFN, mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { TlbFlag } from "../machine/tlb.ts";
import { VramLog } from "../hypervisor/vram-log.ts";
import { refersToFrame } from "../hypervisor/shadow/shadow-entry.ts";
import { isLeafType } from "../hypervisor/shadow/shadow-type.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { pagesWritableByP2m } from "./audit-nested.ts";
import { UNDER_LOCK } from "./invariant.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView } from "./audit-view.ts";

const WRITABLE = 2;
const DIRTY = 64;
const WRITTEN = TlbFlag.writable | TlbFlag.dirty;

/** A place that is recorded as a page's only writable mapping is one. */
export const vramMappingsAreTrue: Invariant = {
  name: "vram-mappings-are-true",
  source: "spec 11.8",
  because: "D is taken from an entry that has nothing to do with the page, whose changes go unseen",
  topic: "any",
  inFlight: UNDER_LOCK,
  *violations(view) {
    for (const { index, gfn, frame } of trackedPages(view)) {
      const cell = logOf(view).mappingOf(index);
      if (cell === 0) continue;
      const low = view.memory.loadEntry(cell);
      const { high } = view.memory;
      const isLeaf = isLeafType(view.frames.type(mfn(cell >>> 10)));
      const isMapping = isLeaf && (low & WRITABLE) !== 0 && refersToFrame(low, high);
      if (!isMapping || frameOfEntry(low, high) !== frame)
        yield `cell ${hex(cell)} is recorded to let gfn ${hex(gfn)} be written, but does not`;
    }
  },
};

/** Whatever can be written without a look noticing it later has been noticed already. */
export const vramChangesAreSeen: Invariant = {
  name: "vram-changes-are-seen",
  source: "spec 11.8, V5",
  because: "a page is told not to have changed, and the display shows what is no longer there",
  topic: "any",
  inFlight:
    "leaves of tracked pages change under the paging lock, with the D that they had at that moment, and a look flushes before " +
    "it releases the lock; hardware sets D before a TLB has it",
  *violations(view) {
    const unseen = new Map<number, number>();
    for (const { index, gfn, frame } of trackedPages(view))
      if (!isSeen(view, index, frame)) unseen.set(frame, gfn);
    if (unseen.size === 0) return;
    if (isIdle(view))
      for (const [frame, gfn] of unseen)
        if (view.frames.typecount(mfn(frame)) !== 0)
          yield `a leaf lets gfn ${hex(gfn)} be written, but nothing is scanned`;
    for (const { gfn } of pagesWritableByP2m(view))
      if (unseen.has(view.machine.p2m.frameOf(gfn)))
        yield `the p2m tables let gfn ${hex(gfn)} be written unseen`;
    for (const { vcpu, page, frame, flags } of view.tlbLines()) {
      const gfn = unseen.get(frame);
      if (gfn !== undefined && (flags & WRITTEN) === WRITTEN)
        yield `vCPU ${String(vcpu)} can write gfn ${hex(gfn)} unseen through its TLB, page 0x${page}`;
    }
  },
};

/** Pages of guest memory that are tracked, by their place in the range. */
function* trackedPages(
  view: AuditView,
): Iterable<{ readonly index: number; readonly gfn: number; readonly frame: Mfn }> {
  const log = logOf(view);
  for (let index = 0; index < log.pageCount(); index++) {
    const gfn = log.firstPage() + index;
    const frame = view.machine.p2m.frameOf(gfn);
    if (frame !== NO_MFN) yield { index, gfn, frame };
  }
}

/** Whether the next look tells the page to have changed, unless its only writable leaf gets D first. */
function isSeen(view: AuditView, index: number, frame: Mfn): boolean {
  const log = logOf(view);
  if (log.isDirty(index)) return true;
  const writers = view.frames.typecount(frame);
  if (writers === 0 || isIdle(view)) return false;
  const cell = log.mappingOf(index);
  return writers > 1 || cell === 0 || (view.memory.loadEntry(cell) & DIRTY) !== 0;
}

function isIdle(view: AuditView): boolean {
  return view.machine.domain.read(DomainCell.vramIdle) !== 0;
}

function logOf({ machine }: AuditView): VramLog {
  return new VramLog(machine);
}
