/** Invariants of what vCPUs have cached (I4; V1 and V4 of the mutants' list). */
import { FrameUse, MAY_WRITE, SHADOWED, isOfGuest } from "../memory/frame-table.ts";
import { vcpuId } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { VcpuCell, vcpuArea } from "../memory/vcpu-area.ts";
import { TlbFlag } from "../machine/tlb.ts";
import { ShadowType, isLeafType } from "../hypervisor/shadow/shadow-type.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView } from "./audit-view.ts";

/** No TLB lets a vCPU write to a pagetable that is not out of sync. */
export const tlbsRespectPagetables: Invariant = {
  name: "tlbs-respect-pagetables",
  source: "spec 20.2, I4",
  because:
    "a store through the stale translation changes the guest's table, and its shadow never hears of it",
  topic: "any",
  inFlight:
    "a vCPU that is not running, or has yet to empty its TLB on its way to running, uses nothing that it holds. All others " +
    "have flushed: whoever takes a right away waits for that before the lock is free",
  *violations(view) {
    for (const { vcpu, page, frame, flags } of view.tlbLines())
      if (
        (flags & TlbFlag.writable) !== 0 &&
        (view.frames.shadowFlags(frame) & (SHADOWED | MAY_WRITE)) === SHADOWED
      )
        yield `vCPU ${String(vcpu)} can write to pagetable ${hex(frame)} through its TLB, page 0x${page}`;
  },
};

/** No TLB maps a frame that is not guest memory. */
export const tlbsMapGuestMemory: Invariant = {
  name: "tlbs-map-guest-memory",
  source: "V4, spec 20.19",
  because: "the guest reads or writes a frame that was taken from it",
  topic: "any",
  inFlight:
    "a vCPU that is not running, or has yet to empty its TLB on its way to running, uses nothing that it holds. All others " +
    "have flushed: whoever takes a right away waits for that before the lock is free",
  *violations(view) {
    for (const { vcpu, page, frame } of view.tlbLines())
      if (!isOfGuest(view.frames.use(frame)))
        yield `vCPU ${String(vcpu)} maps frame ${hex(frame)}, which is not guest memory, at page 0x${page}`;
  },
};

/**
 * A paging-structure cache points to leaf tables only, or to free pages that nobody gets before it is flushed. In hap the
 * leaf tables are the guest's own pages.
 */
export const cachedTablesAreTables: Invariant = {
  name: "cached-tables-are-tables",
  source: "V4, spec 3.8",
  because: "hardware walks a page that has become something else",
  topic: "any",
  inFlight: "as for TLBs; a free page may be pointed to until its next owner has flushed",
  *violations(view) {
    const isNested = view.machine.config.paging === "hap";
    for (const { vcpu, table } of view.cachedTables()) {
      if (isNested) {
        if (view.frames.use(table) !== FrameUse.guest)
          yield `vCPU ${String(vcpu)} has cached ${hex(table)} as a leaf table, which is not guest memory`;
        continue;
      }
      const type = view.frames.type(table);
      if (view.frames.use(table) !== FrameUse.pool || (type !== ShadowType.none && !isLeafType(type)))
        yield `vCPU ${String(vcpu)} has cached ${hex(table)} as a leaf table, which it no longer is`;
      else if (type === ShadowType.none && !isFlushOwed(view, vcpu, table))
        yield `vCPU ${String(vcpu)} has cached leaf table ${hex(table)}, which is free, and nobody will flush it`;
    }
  },
};

/** Whether the deferred flush of a freed page still covers a vCPU (spec 14.8). */
function isFlushOwed(view: AuditView, vcpu: number, page: Mfn): boolean {
  const stamp = view.memory.loadWord(vcpuArea(view.machine.layout, vcpuId(vcpu)) + VcpuCell.tlbStamp);
  return ((stamp - view.frames.timestamp(page)) | 0) <= 0;
}
