/** Invariants of out-of-sync pages (spec 15.6, 15.8; I5, V3). What their shadows grant is held against their snapshots. */
import { DomainCell } from "../memory/domain-area.ts";
import {
  FrameUse,
  MAY_WRITE,
  OUT_OF_SYNC,
  SHADOWED,
  SHADOW_OUT_OF_SYNC,
  SHADOW_TYPES,
} from "../memory/frame-table.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { mfn } from "../memory/units.ts";
import { SLOTS } from "../hypervisor/shadow/out-of-sync-slots.ts";
import { refersToFrame } from "../hypervisor/shadow/shadow-entry.ts";
import { LEAF_TYPES, ShadowType } from "../hypervisor/shadow/shadow-type.ts";
import { UNDER_LOCK } from "./invariant.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView, OutOfSyncSlot } from "./audit-view.ts";

const WRITABLE = 2;

/** A page that is out of sync is in one slot, its home or the next, and has one shadow, of level 1. */
export const outOfSyncPagesHaveSlots: Invariant = {
  name: "out-of-sync-pages-have-slots",
  source: "spec 15.6, I5, V3",
  because: "a page that no resync finds keeps its stale shadow for good",
  topic: "any",
  inFlight: UNDER_LOCK,
  *violations(view) {
    const slots = view.outOfSyncSlots();
    for (const slot of slots) yield* wrongSlot(view, slot);
    for (const page of view.guestPages) {
      const flags = view.frames.shadowFlags(page) & (OUT_OF_SYNC | MAY_WRITE);
      const found = slots.filter((slot) => slot.page === page).length;
      if (flags !== 0 && flags !== (OUT_OF_SYNC | MAY_WRITE))
        yield `page ${hex(page)} is out of sync or may be written, but not both: ${hex(flags)}`;
      if (found !== (flags === 0 ? 0 : 1))
        yield `page ${hex(page)} is ${flags === 0 ? "in sync" : "out of sync"} and in ${String(found)} slots`;
    }
    for (const { head, back, level } of view.shadows) {
      const isMarked = (view.frames.state(head) & SHADOW_OUT_OF_SYNC) !== 0;
      const isPage = level === 1 && view.shadowsOf(back).some((shadow) => shadow.head === head);
      const isDue = isPage && slots.some(({ page }) => page === back) && !isFake(view, head);
      if (isMarked !== isDue)
        yield `shadow ${hex(head)} says that ${hex(back)} is ${isMarked ? "out of sync" : "in sync"}, which it is not`;
    }
  },
};

function isFake({ frames }: AuditView, head: number): boolean {
  const type = frames.type(mfn(head));
  return type === ShadowType.fl1_32 || type === ShadowType.fl1_pae || type === ShadowType.fl1_64;
}

function* wrongSlot(view: AuditView, { vcpu, position, page, snapshot }: OutOfSyncSlot): Iterable<string> {
  const { frames } = view;
  const where = `slot ${String(position)} of vCPU ${String(vcpu)}`;
  if (position !== page % SLOTS && position !== (page + 1) % SLOTS)
    yield `${where} holds page ${hex(page)}, which belongs into another`;
  const flags = frames.shadowFlags(page);
  const types = flags & SHADOW_TYPES;
  const isLeafOnly = (types & ~LEAF_TYPES) === 0 && types !== 0 && (types & (types - 1)) === 0;
  if ((flags & SHADOWED) === 0 || !isLeafOnly)
    yield `${where} holds page ${hex(page)}, whose shadows are ${hex(types)}: not one of level 1`;
  if (frames.use(snapshot) !== FrameUse.pool || frames.type(snapshot) !== ShadowType.oos_snapshot)
    yield `${where} has ${hex(snapshot)} as its snapshot, which is none`;
  if (view.machine.domain.read(DomainCell.outOfSyncActive) === 0)
    yield `${where} holds page ${hex(page)} while some vCPU has paging off`;
}

/** Every leaf that lets an out-of-sync page be written is recorded with it. */
export const outOfSyncWritersAreRecorded: Invariant = {
  name: "out-of-sync-writers-are-recorded",
  source: "spec 15.8, 7.5",
  because: "each resync has to search all shadows for the mapping that nobody recorded",
  topic: "any",
  inFlight: UNDER_LOCK,
  *violations(view) {
    for (const { page, fixups } of view.outOfSyncSlots()) {
      const recorded = fixups.filter((cell) => isWriter(view, cell, page)).length;
      const found = view.writableCount(page);
      if (found !== recorded)
        yield `${String(found)} leaves let out-of-sync page ${hex(page)} be written, ${String(recorded)} are recorded`;
    }
  },
};

function isWriter(view: AuditView, cell: number, page: number): boolean {
  const low = view.memory.loadEntry(cell);
  const { high } = view.memory;
  if (!view.isShadowPage(cell >>> 10) || (low & WRITABLE) === 0 || !refersToFrame(low, high)) return false;
  return frameOfEntry(low, high) === page;
}
