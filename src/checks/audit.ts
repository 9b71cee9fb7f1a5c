/**
 * The audit: everything that must hold of a machine whose vCPUs are parked and whose locks are free (spec 15, Appendix
 * B). To add an invariant, write it and list it; the tests want a planted fault for each.
 */
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse } from "../memory/frame-table.ts";
import { mfn } from "../memory/units.ts";
import { hex } from "./hex.ts";
import type { Finding } from "../machine/vcpu.ts";
import type { Machine } from "../hypervisor/machine.ts";
import {
  heapIsComplete,
  pageCountsAreExact,
  pagetablesAreReadOnly,
  pinnedListIsExact,
  poolIsComplete,
  shadowCountsAreExact,
  typecountsAreExact,
  upwardLinksAreTrue,
} from "./audit-counts.ts";
import {
  entriesGrantNoMore,
  leavesFollowP2m,
  magicEntriesAreTrue,
  upperEntriesFollowGuest,
} from "./audit-entries.ts";
import { dirtyTreesAreExact, writablePagesAreDirty } from "./audit-dirty.ts";
import { flagsMatchShadows, shadowsAreHashed, shadowsAreUnique } from "./audit-hash.ts";
import { p2mTablesAreCounted, p2mTablesFollowP2m } from "./audit-nested.ts";
import { outOfSyncPagesHaveSlots, outOfSyncWritersAreRecorded } from "./audit-out-of-sync.ts";
import { rootsAreLoaded } from "./audit-roots.ts";
import { cachedTablesAreTables, tlbsMapGuestMemory, tlbsRespectPagetables } from "./audit-tlb.ts";
import { readOnlyPagesAreProtected } from "./audit-types.ts";
import { vramChangesAreSeen, vramMappingsAreTrue } from "./audit-vram.ts";
import type { AuditView } from "./audit-view.ts";
import type { Invariant } from "./invariant.ts";
import type { LiveView } from "./live-view.ts";
import { MachineView } from "./machine-view.ts";

/** Every invariant, in the order in which it is worth reading about its failure. */
export const INVARIANTS: readonly Invariant[] = [
  tlbsRespectPagetables,
  tlbsMapGuestMemory,
  cachedTablesAreTables,
  entriesGrantNoMore,
  leavesFollowP2m,
  readOnlyPagesAreProtected,
  magicEntriesAreTrue,
  upperEntriesFollowGuest,
  rootsAreLoaded,
  pagetablesAreReadOnly,
  outOfSyncPagesHaveSlots,
  outOfSyncWritersAreRecorded,
  typecountsAreExact,
  pageCountsAreExact,
  shadowCountsAreExact,
  upwardLinksAreTrue,
  shadowsAreHashed,
  shadowsAreUnique,
  flagsMatchShadows,
  pinnedListIsExact,
  p2mTablesFollowP2m,
  p2mTablesAreCounted,
  poolIsComplete,
  heapIsComplete,
  writablePagesAreDirty,
  dirtyTreesAreExact,
  vramMappingsAreTrue,
  vramChangesAreSeen,
];

/** Findings of one invariant that are kept: the rest say the same. */
const KEPT_PER_INVARIANT = 5;

/** Audits a machine at rest. `vcpu` of a finding is -1: it is nobody's in particular. */
export function auditMachine(machine: Machine): Finding[] {
  if (machine.domain.isDead()) return leftOver(machine);
  const findings: Finding[] = [];
  const view = new MachineView(machine);
  for (const invariant of INVARIANTS) apply(invariant, view, findings);
  return findings;
}

/** Audits what was written since the last time, at a moment when nobody is inside the paging lock. */
export function auditLive(view: LiveView): Finding[] {
  const findings: Finding[] = [];
  if (view.machine.domain.isDead()) return leftOver(view.machine);
  view.settle();
  for (const invariant of INVARIANTS)
    if (view.dirt.concerns(invariant.topic)) apply(invariant, view, findings);
  view.dirt.settleTopics();
  return findings;
}

/** What a domain still has that was taken apart: nothing may be given to it any more (XSA-410). */
function leftOver({ domain, frames }: Machine): Finding[] {
  if (domain.read(DomainCell.tornDown) === 0) return [];
  let left = 0;
  let first = 0;
  for (let number = frames.frames - 1; number > 0; number--) {
    if (frames.use(mfn(number)) === FrameUse.heap) continue;
    left++;
    first = number;
  }
  if (left === 0) return [];
  const message = `the domain was taken apart, but ${left === 1 ? "1 frame is" : `${String(left)} frames are`} not free, ${hex(first)} for one`;
  return [{ check: "audit torn-down-domains-have-nothing", vcpu: -1, message }];
}

function apply(invariant: Invariant, view: AuditView, findings: Finding[]): void {
  let kept = 0;
  for (const message of invariant.violations(view)) {
    if (kept === KEPT_PER_INVARIANT) break;
    findings.push({ check: `audit ${invariant.name}`, vcpu: -1, message });
    kept++;
  }
}
